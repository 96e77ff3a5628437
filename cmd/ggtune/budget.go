package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/allot"
)

// budgetsOf reads --budget and --size.
func budgetsOf(c *cli.Context) (out []allot.Budget, err error) {
	for _, flag := range []struct {
		name string
		read func(string) (allot.Budget, error)
	}{{"budget", readBPW}, {"size", readSize}} {
		if c.String(flag.name) == "" {
			continue
		}
		for s := range strings.SplitSeq(c.String(flag.name), ",") {
			b, err := flag.read(strings.TrimSpace(s))
			if err != nil {
				return nil, usagef("%s: --%s %w", c.Command.Name, flag.name, err)
			}
			if slices.ContainsFunc(out, func(a allot.Budget) bool { return a.BPW == b.BPW && a.Bytes == b.Bytes }) {
				return nil, usagef("%s: --%s has %s twice; give it once", c.Command.Name, flag.name, s)
			}
			out = append(out, b)
		}
	}
	return out, nil
}

// readBPW reads bits a weight: 4.5bpw, or 4.5.
func readBPW(s string) (allot.Budget, error) {
	number := strings.TrimSuffix(strings.ToLower(s), "bpw")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(x > 0 && x <= 32) {
		return allot.Budget{}, fmt.Errorf("%q: expected bits a weight, such as 4.5bpw", s)
	}
	return allot.Budget{Name: strings.TrimSpace(number) + "bpw", BPW: x}, nil
}

// readSize reads the size of a file.
func readSize(s string) (allot.Budget, error) {
	n, err := parseSize(s)
	return allot.Budget{Name: s, Bytes: n}, err
}
