package merge

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ggtune/ggtune/engine/gguf"
)

// Metadata keys that say what the model was made from: llama.cpp's own for the base's name, and ours.
const (
	keyName       = "general.name"
	keyBaseModel  = "general.base_model."
	keyMergedBase = "ggtune.merge.base_sha256"
	keyMerged     = "ggtune.merge.adapter." // and a number from 0: .name, .scale, .sha256
)

// metadata changes what the base says of itself: its name, and what it was made from.
func (m *merging) metadata(w *gguf.Writer) {
	f := m.model.File()
	base, err := f.StringOr(keyName, "")
	if err != nil || base == "" {
		base = stem(m.Model)
	}
	var names []string
	for _, a := range m.result.Adapters {
		name := adapterName(a.Path)
		if a.Scale != 1 {
			name = fmt.Sprintf("%s × %g", name, a.Scale)
		}
		names = append(names, name)
	}
	w.SetString(keyName, base+" + "+strings.Join(names, " + "))
	// The model that this one's base was made from is that one's to tell of.
	for _, kv := range f.KVs() {
		if strings.HasPrefix(kv.Key, keyBaseModel) {
			w.Delete(kv.Key)
		}
	}
	w.SetUint32(keyBaseModel+"count", 1)
	w.SetString(keyBaseModel+"0.name", base)
	if m.chat != nil {
		m.chat.write(w, f)
	}
	if m.pooling != 0 {
		m.pooling.Write(w, m.model.Net().Arch)
	}
	w.SetString(keyMergedBase, m.sha256)
	for i, a := range m.result.Adapters {
		key := mergedKey(i)
		w.SetString(key+"name", adapterName(a.Path))
		w.SetFloat32(key+"scale", float32(a.Scale))
		w.SetString(key+"sha256", a.SHA256)
		for name, text := range map[string]string{"task_name": m.adapters[i].TaskName,
			"prompt_prefix": m.adapters[i].PromptPrefix} {
			if text != "" {
				w.SetString(key+name, text)
			}
		}
	}
}

// mergedKey begins what is said of the adapter of that number.
func mergedKey(i int) string { return fmt.Sprintf("%s%d.", keyMerged, i) }

// adapterName is what people call an adapter: its file's name or, where that is any run's, the directory's.
func adapterName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if name := stem(path); name != "adapter" {
		return name
	}
	return filepath.Base(filepath.Dir(path))
}

func stem(path string) string { return strings.TrimSuffix(filepath.Base(path), ".gguf") }
