package config

import (
	"fmt"
	"reflect"
)

// A ResumeRule says whether a resumed run may have another value of an option than the run it goes on with.
type ResumeRule uint8

// The rules.
const (
	Same  ResumeRule = iota // no: the run would be another one
	Free                    // yes: it changes nothing that is learned
	Names                   // yes: files may have moved; their contents are compared
	End                     // if the schedule does not look at the end
	Bits                    // yes, but the last bits of the numbers may change; the run says so
)

// Compare compares the options of a resumed run with those it began with, by their rules: diffs refuse it, notes are to
// be shown.
func Compare(old, now *Config) (diffs []error, notes []string) {
	was, is := old.canonical().Options(), now.canonical().Options()
	for i := range is {
		a, b := shown(&was[i]), shown(&is[i])
		if is[i].Key == "" || equalOptions(a, b) {
			continue
		}
		switch is[i].Resume {
		case Same:
			diffs = append(diffs,
				fmt.Errorf("--%s is %v, and was %v when the run began; leave it as it was, or begin a new run",
					is[i].Name, b, a))
		case Bits:
			notes = append(notes, fmt.Sprintf("--%s is %v, and was %v: the run goes on, but its numbers may differ "+
				"in their last bits from an uninterrupted one", is[i].Name, b, a))
		}
	}
	return diffs, notes
}

// shown is an option's value, or that there is none.
func shown(o *Option) any {
	if x, given := o.Get(); given {
		return x
	}
	return "not given"
}

// equalOptions says whether two values of an option are the same: an empty list is none.
func equalOptions(a, b any) bool {
	if x, y := reflect.ValueOf(a), reflect.ValueOf(b); x.Kind() == reflect.Slice && y.Kind() == reflect.Slice &&
		x.Len()+y.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a, b)
}
