package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/synth"
)

// scriptCommands are what the scripts may use beside testscript's own commands.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits":    scriptExits,
	"jsonkeys": scriptJSONKeys,
	"onemsg":   scriptOneMessage,
	"long":     scriptLong,
	"repeat":   scriptRepeat,
	"model":    scriptModel,
	"folder":   scriptFolder,
	"rewrite":  scriptRewrite,
	"truncate": scriptTruncate,
	"invalid":  scriptInvalid,
	"fell":     scriptFell,
	"within":   scriptWithin,
}

// scriptExits: `exits CODE program args…` runs a program and demands an exit code, which testscript's own `! exec` does
// not tell apart. Its output is then the script's stdout and stderr.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptJSONKeys: `jsonkeys stdout key…` demands JSON objects and nothing else, each with these keys.
func scriptJSONKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: jsonkeys FILE key...")
	}
	objects := 0
	for d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0]))); ; objects++ {
		var object map[string]json.RawMessage
		err := d.Decode(&object)
		if err == io.EOF {
			break
		}
		if err != nil {
			ts.Fatalf("%s: object %d: not a JSON object: %v", args[0], objects+1, err)
		}
		for _, key := range args[1:] {
			if _, ok := object[key]; !ok {
				ts.Fatalf("%s: object %d has no key %q", args[0], objects+1, key)
			}
		}
	}
	if objects == 0 {
		ts.Fatalf("%s is empty, want JSON objects", args[0])
	}
}

// scriptOneMessage: `onemsg` demands that the last command said one message on stderr, without a stack trace.
func scriptOneMessage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: onemsg")
	}
	text := ts.ReadFile("stderr")
	if n := strings.Count(text, "ggtune: "); n != 1 {
		ts.Fatalf("%d messages on stderr, want 1:\n%s", n, text)
	}
	for _, trace := range []string{"goroutine ", "panic:", "GGML_ASSERT", "SIGSEGV", "SIGABRT", "internal error"} {
		if strings.Contains(text, trace) {
			ts.Fatalf("stderr holds %q:\n%s", trace, text)
		}
	}
}

// scriptModel: `model FILE ARCH TYPE [chatml] [notokenizer] [wide] [odd]` writes a tiny generated model.
func scriptModel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: model FILE ARCH TYPE [chatml] [notokenizer] [wide] [odd]")
	}
	typ, err := gguf.ParseType(args[2])
	ts.Check(err)
	spec := synth.Tiny(args[1], typ)
	for _, feature := range args[3:] {
		switch feature {
		case "chatml":
			spec.ChatTemplate, spec.Tokenizer = synth.ChatML, synth.Qwen2
		case "wide": // rows for blocks of 256
			spec.Embd, spec.FF = 256, 512
		case "odd": // rows of ffn_down that are no whole blocks of 32
			spec.FF = 44
		case "notokenizer":
			spec.Tokenizer = synth.NoTokenizer
		default:
			ts.Fatalf("model: unknown feature %q", feature)
		}
	}
	ts.Check(spec.WriteFile(context.Background(), ts.MkAbs(args[0])))
}

// scriptFolder: `folder DIR CASE` copies a recorded folder of Hugging Face's.
func scriptFolder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: folder DIR CASE")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS("../../finetune/convert/testdata/hub/"+args[1])))
}

// scriptLong: `long FILE WORDS` writes a text of that many words.
func scriptLong(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: long FILE WORDS")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Repeat("once ", n)), 0o666))
}

// scriptRepeat: `repeat FROM TO TIMES` writes a file's content over and over.
func scriptRepeat(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: repeat FROM TO TIMES")
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Repeat(ts.ReadFile(args[0]), n)), 0o666))
}

// scriptTruncate: `truncate FROM TO BYTES` copies the beginning of a file.
func scriptTruncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: truncate FROM TO BYTES")
	}
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	if n >= len(b) {
		ts.Fatalf("%s has only %d bytes", args[0], len(b))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b[:n], 0o666))
}

// scriptInvalid: `invalid FILE` writes a row that is not UTF-8, which a txtar file cannot hold.
func scriptInvalid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: invalid FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("{\"prompt\": \"a\xff\", \"completion\": \"b\"}\n"), 0o666))
}

// scriptFell: `fell FILE BEFORE AFTER TIMES` demands that one key of a JSON object is at least TIMES another.
func scriptFell(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: fell FILE BEFORE AFTER TIMES")
	}
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &object))
	before, ok1 := object[args[1]].(float64)
	after, ok2 := object[args[2]].(float64)
	times, err := strconv.ParseFloat(args[3], 64)
	ts.Check(err)
	if !ok1 || !ok2 || !(before >= times*after) {
		ts.Fatalf("%s %v, %s %v: want a fall by %v times", args[1], object[args[1]], args[2], object[args[2]], times)
	}
}

// scriptWithin: `within PLAN FILE KEY SHARE` demands that a key of two JSON objects differs by at most that share of
// FILE's.
func scriptWithin(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: within PLAN FILE KEY SHARE")
	}
	var numbers [2]float64
	for i := range numbers {
		var object map[string]any
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[i])), &object))
		n, ok := object[args[2]].(float64)
		if !ok {
			ts.Fatalf("%s: %s is %v, want a number", args[i], args[2], object[args[2]])
		}
		numbers[i] = n
	}
	share, err := strconv.ParseFloat(args[3], 64)
	ts.Check(err)
	ts.Logf("%s: planned %.0f, was %.0f: %+.1f%%", args[2], numbers[0], numbers[1], 100*(numbers[0]/numbers[1]-1))
	if !(math.Abs(numbers[0]/numbers[1]-1) <= share) {
		ts.Fatalf("%s: planned %.0f, was %.0f", args[2], numbers[0], numbers[1])
	}
}

// scriptRewrite: `rewrite FROM TO [notensors] [key=text|key=number]…` copies a GGUF file with other metadata.
func scriptRewrite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: rewrite FROM TO [notensors] [key=value]...")
	}
	f, err := gguf.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	var w gguf.Writer
	w.CopyMetadata(f)
	tensors := f.Tensors
	for _, a := range args[2:] {
		key, value, ok := strings.Cut(a, "=")
		switch n, err := strconv.ParseUint(value, 10, 16); {
		case a == "notensors":
			tensors = nil
		case !ok:
			ts.Fatalf("rewrite: %q is no key=value", a)
		case err == nil:
			w.Set(key, gguf.NumberValue(uint16(n)))
		default:
			w.SetString(key, value)
		}
	}
	for i := range tensors {
		ts.Check(w.AddFrom(f, &tensors[i]))
	}
	ts.Check(w.WriteFile(context.Background(), nil, ts.MkAbs(args[1])))
}
