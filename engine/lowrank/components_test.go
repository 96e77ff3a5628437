package lowrank

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestComponentsArePEFTs: the components of the batches of a layer's inputs are those that PEFT's EVA starts A with,
// sign and order, after as many batches as it takes there.
func TestComponentsArePEFTs(t *testing.T) {
	var rec struct {
		In      int         `json:"in"`
		Rank    int         `json:"rank"`
		Batches [][]float32 `json:"batches"`
		A       []float64   `json:"a"`
	}
	text, err := os.ReadFile("testdata/peft_eva.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &rec); err != nil {
		t.Fatal(err)
	}
	c, err := NewComponents(rec.Rank, rec.In)
	if err != nil {
		t.Fatal(err)
	}
	const tau = 0.99 // PEFT's: cosines from which a component has settled
	for i := 0; ; i++ {
		changed, ok, err := c.Add(rec.Batches[i%len(rec.Batches)])
		if err != nil || !ok {
			t.Fatalf("batch %d: %v, %v", i, ok, err)
		}
		if i > 100 {
			t.Fatal("nothing settles")
		}
		if 1-changed >= tau {
			if i < 2 {
				t.Errorf("settled at batch %d: the test proves little", i)
			}
			break
		}
	}
	const tolerance = 2e-4 // PEFT's are found in f32 by a random projection; measured 2e-5
	for i, x := range c.Vectors {
		if math.Abs(x-rec.A[i]) > tolerance {
			t.Fatalf("component %d, number %d is %g, PEFT's %g", i/rec.In, i%rec.In, x, rec.A[i])
		}
	}
}

// TestFewVectors: a batch of fewer vectors than components is passed over; of vectors in fewer directions the other
// components are zero.
func TestFewVectors(t *testing.T) {
	c, err := NewComponents(3, 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := c.Add(make([]float32, 8)); ok || err != nil || c.Vectors != nil {
		t.Errorf("two vectors for three components: %v, %v, %v", ok, err, c.Vectors)
	}
	if _, ok, err := c.Add([]float32{1, 0, 0, 0, -1, 0, 0, 0, 1, 0, 0, 0, -1, 0, 0, 0}); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	for i, x := range c.Vectors {
		want := 0.0
		if i == 0 {
			want = 1
		}
		if math.Abs(x-want) > 1e-6 {
			t.Errorf("number %d is %g, want %g", i, x, want)
		}
	}
	if _, err := NewComponents(5, 4); err == nil {
		t.Error("more components than numbers are looked for")
	}
}
