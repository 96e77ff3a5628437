// Package fuzzing makes Go's fuzzing spend its time on inputs. It is for tests: it knows no target.
package fuzzing

import (
	"flag"
	"os"
	"testing"
)

// minimize bounds the executions that go into making one interesting input smaller. Go's own bound is a minute: it
// tries to leave out every run of bytes, whose number grows with the square of the length, so that ten seconds of
// fuzzing a Parquet file ran four inputs.
const minimize = "64x"

// Main is what a package with fuzz targets calls from TestMain.
func Main(m *testing.M) {
	Short()
	os.Exit(m.Run())
}

// Short is Main for a TestMain that has more to do. -fuzzminimizetime on the command line still has its way.
func Short() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.fuzzminimizetime" })
	if !given {
		if err := flag.Set("test.fuzzminimizetime", minimize); err != nil {
			panic(err)
		}
	}
}
