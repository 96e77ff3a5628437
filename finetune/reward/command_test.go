//go:build unix

package reward

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
)

// TestMain is the reward program too, which behaves as its first argument says.
func TestMain(m *testing.M) {
	if how := os.Getenv("GGTUNE_TEST_REWARD"); how != "" {
		behave(how)
		return
	}
	os.Exit(m.Run())
}

// behave reads answers and prints rewards: the number in each answer, in the manner asked for.
func behave(how string) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	state := os.Getenv("GGTUNE_TEST_STATE") // a file that tells a second start from a first
	_, err := os.Stat(state)
	first := err != nil
	if state != "" {
		os.WriteFile(state, nil, 0o666)
	}
	var batch []string
	for n := 0; in.Scan(); n++ {
		var a asked
		if err := json.Unmarshal(in.Bytes(), &a); err != nil {
			fmt.Fprintln(os.Stderr, "not JSON:", err)
			os.Exit(9)
		}
		switch how {
		case "echo": // what it was given
			fmt.Fprintf(os.Stderr, "%s\n", in.Bytes())
		case "batch": // a program that scores many at once
			if batch = append(batch, a.Answer); a.Left == 0 {
				for _, x := range batch {
					fmt.Println(x)
				}
				batch = nil
			}
			continue
		case "object":
			fmt.Printf("{\"why\": \"so\", \"reward\": %s}\r\n", a.Answer)
			continue
		case "once": // it ends when it has answered
			if fmt.Println(a.Answer); a.Left == 0 {
				return
			}
			continue
		case "die", "unlucky", "silent":
			if n == 2 && (how != "unlucky" || first) {
				if how != "silent" {
					noise := strings.Repeat("noise\n", 1000)
					fmt.Fprint(os.Stderr, noise, "\x1b[31mTraceback\nout of cheese\x1b[0m\n")
				}
				os.Exit(3)
			}
		case "hang":
			if n == 2 {
				select {}
			}
		case "deaf":
			select {}
		case "children":
			c := exec.Command("sleep", "600")
			c.Start()
			os.WriteFile(os.Getenv("GGTUNE_TEST_PID"), []byte(strconv.Itoa(c.Process.Pid)), 0o666)
			select {}
		case "few":
			if a.Left == 0 {
				return
			}
		case "many":
			fmt.Println(a.Answer)
		case "banner":
			if n == 0 {
				fmt.Println("loading the model…")
			}
		case "later": // it says something when it is asked for nothing
			if fmt.Println(a.Answer); a.Left == 0 {
				time.Sleep(100 * time.Millisecond)
				fmt.Println("done")
			}
			continue
		case "goodbye":
			defer fmt.Println("bye")
		case "stays":
			defer func() { select {} }()
		}
		fmt.Println(a.Answer)
	}
}

// behaving is the command that runs behave.
func behaving(t *testing.T, how string, env ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return "GGTUNE_TEST_REWARD=" + how + " " + strings.Join(env, " ") + " exec '" + exe + "'"
}

func answers(texts ...string) []Sample {
	var out []Sample
	for i, text := range texts {
		out = append(out, Sample{Source: fmt.Sprintf("d.jsonl:%d", i+1), Prompt: "p", Answer: text})
	}
	return out
}

// asking opens a program as the only reward, with what it was noted for.
func asking(t *testing.T, command string, limit time.Duration) (*Rewards, *[]string) {
	t.Helper()
	notes := new([]string)
	r, err := Open(nil, nil, Options{Command: command, Timeout: limit,
		Note: func(s string) { *notes = append(*notes, s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, notes
}

func TestCommand(t *testing.T) {
	for _, how := range []string{"plain", "object", "batch", "once"} {
		t.Run(how, func(t *testing.T) {
			r, notes := asking(t, behaving(t, how), 0)
			for _, want := range [][]float64{{1, -0.5, 3e2}, {7}, {}, {0, 0}} {
				var texts []string
				for _, x := range want {
					texts = append(texts, strconv.FormatFloat(x, 'g', -1, 64))
				}
				got, err := r.Score(t.Context(), answers(texts...))
				if err != nil || !cmp.Equal(got.Total, append([]float64{}, want...)) {
					t.Fatalf("got %v (%v), want %v", got.Total, err, want)
				}
			}
			if err := r.Close(); err != nil || len(*notes) > 0 {
				t.Errorf("notes %q, %v", *notes, err)
			}
		})
	}
}

// TestCommandIsTold: a program is given all that is known of an answer, and more than a pipe holds.
func TestCommandIsTold(t *testing.T) {
	r, _ := asking(t, behaving(t, "echo")+" 2>"+filepath.Join(t.TempDir(), "told"), 0)
	told := r.parts[0].reward.(command).Line
	path := told[strings.LastIndex(told, ">")+1:]
	samples := []Sample{{Source: "d.jsonl:1", Prompt: "<|user|>é", Answer: "1", Tokens: 3, Ended: true,
		Messages: []data.Message{{Role: data.User, Content: "a & b"}},
		Row:      map[string]json.RawMessage{"x": json.RawMessage(`{"y": [1, null]}`)}}, {Answer: "2"}}
	for range 5000 {
		samples = append(samples, Sample{Answer: "3", Prompt: strings.Repeat("p", 100)})
	}
	if _, err := r.Score(t.Context(), samples); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"prompt":"<|user|>é","messages":[{"role":"user","content":"a & b"}],"answer":"1","tokens":3,` +
		`"ended":true,"row":{"x":{"y":[1,null]}},"left":5001}` + "\n" +
		`{"prompt":"","answer":"2","tokens":0,"ended":false,"row":null,"left":5000}` + "\n"
	if text := string(got); !strings.HasPrefix(text, want) {
		t.Errorf("got %s, want %s", text[:min(len(text), 400)], want)
	}
}

// TestCommandMisbehaves: whatever a program does, the account says what, of which answer, and what it wrote.
func TestCommandMisbehaves(t *testing.T) {
	const short = 300 * time.Millisecond
	for _, tc := range []struct {
		how     string
		command string // "": behave in that manner
		texts   []string
		limit   time.Duration
		wants   []string
		noted   bool // it was tried twice
	}{
		{how: "die", texts: []string{"1", "2", "3", "4"}, noted: true,
			wants: []string{"ended (exit status 3) after 2 of 4 lines", "[31mTraceback\n  out of cheese[0m"}},
		{how: "silent", texts: []string{"1", "2", "3"}, noted: true,
			wants: []string{"(exit status 3) after 2 of 3 lines; it wrote nothing to its standard error"}},
		// It must have begun within the limit, which takes a while on a busy machine.
		{how: "hang", texts: []string{"1", "2", "3"}, limit: 2 * time.Second, noted: true,
			wants: []string{"printed 2 of 3 lines in 2s", "--reward-timeout", "flush"}},
		{how: "deaf", texts: []string{"1", strings.Repeat("1", 1<<19), "2"}, limit: short, noted: true,
			wants: []string{"printed 0 of 3 lines", "it does not read all that it is given"}},
		{how: "few", texts: []string{"1", "2", "3"}, noted: true,
			wants: []string{"ended with exit status 0 after 2 of 3 lines"}},
		{how: "many", texts: []string{"1", "2", "3"},
			wants: []string{"printed more than the 3 lines that it was asked for", "one line for each"}},
		{how: "banner", texts: []string{"1", "2"},
			wants: []string{`printed "loading the model…\n" in line 1 of 2, for d.jsonl:1 with the answer "1": ` +
				`expected a number`, "standard error"}},
		{how: "plain", texts: []string{"1", "NaN"},
			wants: []string{`in line 2 of 2, for d.jsonl:2`, "a reward is a finite number"}},
		{how: "plain", texts: []string{"-inf"}, wants: []string{"a reward is a finite number"}},
		{how: "plain", texts: []string{"1e999"}, wants: []string{"expected a number"}},
		{how: "plain", texts: []string{"null"}, wants: []string{"expected a number"}},
		{how: "plain", texts: []string{`"1"`}, wants: []string{"expected a number"}},
		{how: "plain", texts: []string{""}, wants: []string{"an empty line is no reward"}},
		{how: "plain", texts: []string{"1 2"}, wants: []string{"expected a number"}},
		{how: "plain", texts: []string{strings.Repeat("1", 100000)}, wants: []string{"expected a number"}},
		{how: "plain", texts: []string{`{"score": 1}`}, wants: []string{`the object has no "reward"`}},
		{how: "plain", texts: []string{`{"reward": NaN}`}, wants: []string{"malformed JSON"}},
		{how: "none", command: "/no/such/program", texts: []string{"1"},
			wants: []string{"after 0 of 1 line", "not found"}},
		{how: "syntax", command: "'", texts: []string{"1"}, noted: true, wants: []string{"the program `'` ended"}},
	} {
		t.Run(tc.how+" "+strings.Join(tc.texts, ",")[:min(9, len(strings.Join(tc.texts, ",")))], func(t *testing.T) {
			command := tc.command
			if command == "" {
				command = behaving(t, tc.how)
			}
			r, notes := asking(t, command, tc.limit)
			_, err := r.Score(t.Context(), answers(tc.texts...))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant %q", err, want)
				}
			}
			if strings.ContainsRune(err.Error(), '\x1b') || len(err.Error()) > 3<<10 {
				t.Errorf("the account has %d bytes, or escapes: %q", len(err.Error()), err)
			}
			if (len(*notes) == 1) != tc.noted {
				t.Errorf("noted %q", *notes)
			}
		})
	}
}

// TestCommandUnlucky: a program that dies once is started again, asked for all answers of the call, and it is said.
func TestCommandUnlucky(t *testing.T) {
	r, notes := asking(t, behaving(t, "unlucky", "GGTUNE_TEST_STATE="+filepath.Join(t.TempDir(), "state")), 0)
	for range 2 {
		got, err := r.Score(t.Context(), answers("1", "2", "3", "4"))
		if err != nil || !cmp.Equal(got.Total, []float64{1, 2, 3, 4}) {
			t.Fatalf("got %v (%v)", got.Total, err)
		}
	}
	if len(*notes) != 1 || !strings.Contains((*notes)[0], "after 2 of 4 lines") ||
		!strings.Contains((*notes)[0], "out of cheese") || !strings.Contains((*notes)[0], "started again") {
		t.Errorf("noted %q", *notes)
	}
}

// TestCommandSpeaksLater: a line that nobody asked for is no reward of the next call.
func TestCommandSpeaksLater(t *testing.T) {
	r, _ := asking(t, behaving(t, "later"), 0)
	if _, err := r.Score(t.Context(), answers("1", "2")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if _, err := r.Score(t.Context(), answers("1", "2")); err == nil ||
		!strings.Contains(err.Error(), `printed "done\n", which nobody asked for`) {
		t.Errorf("got %v", err)
	}
}

func TestCommandCloses(t *testing.T) {
	for how, want := range map[string]string{"goodbye": "printed 1 line at its end", "stays": "it was killed"} {
		r, notes := asking(t, behaving(t, how), 0)
		if _, err := r.Score(t.Context(), answers("1")); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil || len(*notes) != 1 || !strings.Contains((*notes)[0], want) {
			t.Errorf("%s: noted %q, %v", how, *notes, err)
		}
	}
}

// TestCommandKilled: when the work is stopped, the program and what it started are gone.
func TestCommandKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	r, _ := asking(t, behaving(t, "children", "GGTUNE_TEST_PID="+path), 0)
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for !written(path) {
			time.Sleep(10 * time.Millisecond)
		}
		cancel(interrupted)
	}()
	if _, err := r.Score(ctx, answers("1")); !errors.Is(err, interrupted) {
		t.Errorf("got %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	// It is gone as soon as whoever takes over orphans has seen it.
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) {
			return
		}
		if time.Now().After(until) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("what the program started goes on")
		}
	}
}

func written(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Size() > 0
}

// zombie says whether a process has ended and waits for its parent to look.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(b), ") Z ")
}
