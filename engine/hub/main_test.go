package hub

import (
	"testing"

	"github.com/ggtune/ggtune/internal/fuzzing"
)

func TestMain(m *testing.M) { fuzzing.Main(m) }
