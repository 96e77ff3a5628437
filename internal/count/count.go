// Package count words a number of things for people. It knows no word whose plural is not formed with an s.
package count

import "fmt"

// Of is n and the noun: "1 row", "3 rows".
func Of[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
