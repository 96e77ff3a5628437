package count

import "testing"

func TestOf(t *testing.T) {
	for n, want := range map[int64]string{0: "0 rows", 1: "1 row", 2: "2 rows", -1: "-1 rows",
		1 << 40: "1099511627776 rows"} {
		if got := Of(n, "row"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
