// Command same proves that two builds of ggtune behave the same: it gives both the same small models, data and command
// lines, each in a folder of its own, and compares every file and every line that comes out, except for times, speeds,
// memory in use and the version. Training is deterministic, so that equality is exact.
//
//	go build -o old ./cmd/ggtune            # at the commit before
//	go build -o new ./cmd/ggtune            # at the commit after
//	go run ./scripts/same -quick old new    # less than a minute; without -quick everything
//
// It needs nothing but the two binaries. Exit code 1: they differ, or a case did not do what it is there for. With
// -prove NEW trains with another seed, and each case that trains must be found different: the comparison is not blind.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

func main() {
	o := options{}
	flag.BoolVar(&o.quick, "quick", false, "only the cases that cover most in the least time")
	flag.StringVar(&o.keep, "keep", "",
		"work in this new `directory` and leave it; otherwise in a temporary one, left if something differs")
	flag.StringVar(&o.only, "run", "", "only the cases whose names match `regexp`")
	flag.BoolVar(&o.prove, "prove", false,
		"let NEW train with another seed: each case that trains must be found different")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/same [-quick] [-run REGEXP] [-keep DIR] [-prove] OLD NEW")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	ok, err := o.run(context.Background(), flag.Arg(0), flag.Arg(1))
	if err != nil {
		fmt.Fprintln(os.Stderr, "same:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

type options struct {
	quick, prove bool
	keep, only   string
}

// run makes the fixtures and runs the cases, and says whether all came out as they must.
func (o options) run(ctx context.Context, old, new string) (ok bool, err error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return false, fmt.Errorf("-run: %w", err)
	}
	dir := o.keep
	if dir == "" {
		dir, err = os.MkdirTemp("", "ggtune-same-")
	} else {
		err = os.Mkdir(dir, 0o777)
	}
	if err != nil {
		return false, err
	}
	p, err := newPair(dir, old, new)
	if err != nil {
		return false, err
	}
	p.prove = o.prove
	if err := fixtures(ctx, p.fixtures, p.old); err != nil {
		return false, fmt.Errorf("fixtures in %s: %w", p.fixtures, err)
	}
	failed, n := 0, 0
	for _, c := range cases() {
		if o.quick && !c.quick || !only.MatchString(c.name) || o.prove && !c.trains() {
			continue
		}
		n++
		began := time.Now()
		diffs, err := p.compare(ctx, c)
		what, bad := "same", err != nil || len(diffs) > 0 != o.prove
		switch {
		case err != nil:
			what = "BROKEN"
			diffs = []string{err.Error()}
		case len(diffs) > 0:
			what = "DIFFERENT"
		}
		if bad {
			failed++
		} else if o.keep == "" {
			if err := p.forget(c); err != nil {
				return false, err
			}
		}
		fmt.Printf("%-10s %-28s %5.1f s\n", what, c.name, time.Since(began).Seconds())
		const shown = 6
		for i, d := range diffs {
			if i == shown || o.prove && i == 1 {
				fmt.Printf("           and %d more\n", len(diffs)-i)
				break
			}
			fmt.Printf("           %s\n", d)
		}
	}
	if n == 0 {
		return false, fmt.Errorf("no case matches")
	}
	want := "the same"
	if o.prove {
		want = "different, as it must be with another seed"
	}
	fmt.Printf("%d of %d cases %s\n", n-failed, n, want)
	if o.keep != "" || failed > 0 {
		full, _ := filepath.Abs(dir)
		fmt.Printf("files: %s\n", full)
		return failed == 0, nil
	}
	return true, os.RemoveAll(dir)
}
