package origin

import (
	"fmt"
	"slices"
	"strings"
)

// Made is the key under which an adapter that was made without training says how: an operation and its files.
const Made = "made"

// ForBase is what is known of an adapter that was made, without training, for the base with that hash.
func ForBase(sha256 string) map[string]string { return map[string]string{base: sha256} }

// Common is what is true of an adapter made of others: what all of them say. Adapters of different bases are refused;
// the notes say what else they do not agree in. An adapter that does not say its base is taken for one of the others'.
func Common(list ...*Origin) (info map[string]string, notes []string, err error) {
	info = map[string]string{}
	for _, o := range list {
		if mine := o.Base(); mine != "" && info[base] == "" {
			info[base] = mine
		}
	}
	var silent, differ []string
	for _, o := range list {
		switch mine := o.Base(); {
		case mine == "":
			silent = append(silent, o.Adapter)
		case mine != info[base]:
			return nil, nil, fmt.Errorf("%s was trained on another base (sha256 %.12s…) than the rest (%.12s…): what "+
				"it changes fits that base only", o.Adapter, mine, info[base])
		}
		if note := o.Unfinished(); note != "" {
			notes = append(notes, note)
			if info[unfinished] == "" {
				info[unfinished] = o.Info[unfinished]
			}
		}
	}
	if len(silent) > 0 && len(list) > 1 {
		notes = append(notes, fmt.Sprintf("%s: not said on which base it was trained; it must be the others'",
			strings.Join(silent, ", ")))
	}
	for key, text := range list[0].Info {
		if key == base || key == unfinished || key == Made {
			continue
		}
		if slices.ContainsFunc(list, func(o *Origin) bool { return o.Info[key] != text }) {
			differ = append(differ, key)
			continue
		}
		info[key] = text
	}
	if len(differ) > 0 {
		slices.Sort(differ)
		notes = append(notes, fmt.Sprintf("the adapters were not all trained alike, and the result says nothing of: %s",
			strings.Join(differ, ", ")))
	}
	return info, notes, nil
}
