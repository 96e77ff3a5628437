package run

import (
	"os"
	"testing"
)

// TestUnfinish: whatever a run leaves that was stopped while its result was being made is gone when it goes on, of both
// models that a merging writes.
func TestUnfinish(t *testing.T) {
	d := &runDir{path: t.TempDir()}
	for _, name := range []string{fileReport, fileUnverified, fileModel + ".unverified",
		fileModel + ".unverified.nearest"} {
		if err := os.WriteFile(d.file(name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.unfinish(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(d.path); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}
