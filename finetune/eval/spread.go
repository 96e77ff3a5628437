package eval

import "github.com/ggtune/ggtune/finetune/encode"

// Spread gives some of the items, evenly, with about n counted tokens.
func Spread(items []encode.Item, n int) []encode.Item {
	all := 0
	for i := range items {
		all += items[i].NumCounted()
	}
	if all <= n {
		return items
	}
	var out []encode.Item
	for i, most := 0, max(1, len(items)*n/all); i < most; i++ {
		out = append(out, items[i*len(items)/most])
	}
	return out
}
