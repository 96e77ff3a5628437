package config

import (
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/internal/setting"
)

// What shells complete is what is accepted: every name of an option passes, and one that is none does not, but where
// others will do too.
func TestValues(t *testing.T) {
	open := []string{"text-split", "template", "alora"} // a separator, a file, a text
	several := 0
	for i, o := range new(Config).Options() {
		if len(o.Values) == 0 {
			continue
		}
		several++
		for _, name := range append([]string{"no such name"}, o.Values...) {
			c := validConfig()
			if v, isAuto := c.Options()[i].Value.(flag.Value); isAuto {
				if accepted, want := v.Set(name) == nil, name == "auto"; accepted != want {
					t.Errorf("--%s %q: accepted %v, want %v", o.Name, name, accepted, want)
				}
				continue
			}
			if v, isWord := c.Options()[i].Value.(setting.Slot); isWord {
				_, err := v.Setting.Parse(name)
				if accepted, want := err == nil, name != "no such name"; accepted != want {
					t.Errorf("--%s %q: accepted %v, want %v", o.Name, name, accepted, want)
				}
				continue
			}
			if v, isList := c.Options()[i].Value.(*[]string); isList { // of names that are looked up late
				*v = []string{name}
				_, err := c.Rewards(nil, &reward.Kind{Name: RewardModel, Arg: "DIR", Needs: true})
				unknown := err != nil && strings.Contains(err.Error(), "unknown")
				if unknown != (name == "no such name") {
					t.Errorf("--%s %q: %v", o.Name, name, err)
				}
				continue
			}
			*c.Options()[i].Value.(*string) = name
			errs := ""
			if err := c.Validate(); err != nil {
				errs = err.Error()
			}
			told := strings.Contains(errs, "--"+o.Name+" is "+name) || strings.Contains(errs, strconv.Quote(name))
			if want := name == "no such name" && !slices.Contains(open, o.Name); told != want {
				t.Errorf("--%s %q: refused %v, want %v: %s", o.Name, name, told, want, errs)
			}
		}
	}
	if several < 10 {
		t.Errorf("%d options have values, want 10 and more", several)
	}
}

// No name of another tool stands for two of ours, or is one of ours.
func TestOtherNames(t *testing.T) {
	taken := map[string]string{}
	for _, o := range new(Config).Options() {
		taken[o.Name] = o.Name
	}
	for ours, others := range OtherNames() {
		if taken[ours] != ours {
			t.Errorf("%s is no option of ours", ours)
		}
		for _, other := range others {
			if taken[other] != "" {
				t.Errorf("%s stands for %s, and for %s", other, ours, taken[other])
			}
			taken[other] = ours + " too"
		}
	}
}
