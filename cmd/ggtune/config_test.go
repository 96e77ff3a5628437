package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/internal/setting"
)

// parsed gives the configuration that a command line makes.
func parsed(t *testing.T, args ...string) *config.Config {
	t.Helper()
	app := newApp(nil, nil, nil)
	var cfg *config.Config
	app.Commands = []*cli.Command{{
		Name:   "train",
		Flags:  configFlags(func(config.Option) bool { return true }),
		Action: func(c *cli.Context) (err error) { cfg, _, err = settings(c); return err },
	}}
	full, err := arrange(app, append([]string{"ggtune", "train"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Run(full); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Every option reaches its field, by its name and by each alias: none is parsed and forgotten.
func TestEveryOptionReachesItsField(t *testing.T) {
	defaults := config.Default()
	for i, o := range defaults.Options() {
		for _, name := range append([]string{o.Name}, o.Aliases...) {
			t.Run(name, func(t *testing.T) {
				args, want := []string{dashes(name), "7"}, any(nil)
				switch v := o.Value.(type) {
				case *string:
					want = "7"
				case *[]string:
					want = []string{"7"}
				case *int:
					want = 7
				case *config.Auto[int]:
					want = config.Fixed(7)
				case *config.Auto[float64]:
					want = config.Fixed(7.0)
				case *uint64:
					want = uint64(7)
				case *float64:
					want = 7.0
				case setting.Slot:
					want = 7.0
					if v.Setting.Words != nil {
						args[1], want = v.Setting.Words[1], v.Setting.Words[1]
					}
				case *[]float64:
					want = []float64{7}
				case *bool:
					args, want = args[:1], true
				}
				if name == "resume" { // alone it asks which run
					args = append(args, "--model", "m.gguf")
				}
				got, given := parsed(t, args...).Options()[i].Get()
				if !given || !reflect.DeepEqual(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}
}

func TestNoOptionKeepsDefaults(t *testing.T) {
	got, want := *parsed(t), config.Default()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestFlagsGoBeforeTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.toml")
	if err := os.WriteFile(path, []byte("rank = 4\nlr = 0.5\nfull = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := parsed(t, "-c", path, "--rank", "8", "--full=false")
	if got, want := fmt.Sprint(cfg.Rank, cfg.LR, cfg.Full), "8 0.5 false"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTargetsArePartedByCommasAndFilesAreNot(t *testing.T) {
	cfg := parsed(t, "--targets", "attn_q,attn_v", "--targets", "ffn_up", "-d", "a,b.jsonl", "-d", "c.jsonl")
	if want := []string{"attn_q", "attn_v", "ffn_up"}; !slices.Equal(cfg.Targets, want) {
		t.Errorf("targets: got %q, want %q", cfg.Targets, want)
	}
	if want := []string{"a,b.jsonl", "c.jsonl"}; !slices.Equal(cfg.Data, want) {
		t.Errorf("data: got %q, want %q", cfg.Data, want)
	}
}
