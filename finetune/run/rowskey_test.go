package run

import (
	"encoding/json"
	"testing"
)

// TestKeysStay: what caches of older versions say of their making is read as it was written.
func TestKeysStay(t *testing.T) {
	rows := rowsKey{"t", "h", "none", 64, 7, 5, true}
	const of = `"train_data":"t","held_data":"h","packing":"none","seq_len":64,"seed":7,"eval_rows":5,"exact":true}`
	for want, key := range map[string]any{
		`{"kind":"reference","base_sha256":"b","adapter_sha256":"a",` + of: referenceKey{Kind: "reference", Base: "b",
			Adapter: "a", rowsKey: rows},
		`{"teacher_sha256":"s",` + of: teacherKey{"s", rows},
	} {
		if got, err := json.Marshal(key); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}
