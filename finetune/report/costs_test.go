package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlotCosts: every size has its point and name, whatever its divergence, and one alone can be drawn.
func TestPlotCosts(t *testing.T) {
	all := []SizeCost{{Name: "q4_k_m", Bytes: 3e6, KL: 0.15}, {Name: "f16", Bytes: 9e6}, {Name: "4.5bpw", Bytes: 2e6,
		KL: 0.14, Chosen: true}}
	for _, n := range []int{1, 3} {
		path := filepath.Join(t.TempDir(), "costs.svg")
		if err := WriteCosts(path, "held\u202eout.txt", all[:n]); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(b)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%d sizes: not XML: %v", n, err)
			}
		}
		for i, s := range all {
			if got := strings.Count(string(b), ">"+s.Name+"</text>"); got != 1 && i < n || got != 0 && i >= n {
				t.Errorf("%d sizes: %s stands there %d times", n, s.Name, got)
			}
		}
		for _, words := range []string{">tensors, MB</text>", ">KL, nats per token</text>", `held\u202eout.txt`} {
			if !strings.Contains(string(b), words) {
				t.Errorf("%d sizes: no %s", n, words)
			}
		}
		if chosen := strings.Contains(string(b), ">types chosen for the size</text>"); chosen != (n == 3) {
			t.Errorf("%d sizes: chosen types are named: %v", n, chosen)
		}
	}
}
