// Command ggtune fine-tunes GGUF models. This package knows flags, the terminal and exit codes; what it prints comes
// from one library call per command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/bindings"
	_ "github.com/ggtune/ggtune/bindings/start" // says what is wrong where Go's runtime could not begin
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/run"
)

// Exit codes: a contract for scripts.
const (
	exitDone        = 0
	exitFailure     = 1
	exitUsage       = 2
	exitFault       = bindings.ExitFault // a fault in ggtune or a library
	exitInterrupted = 130                // 128 + SIGINT, as shells have it; SIGTERM, SIGQUIT and SIGHUP give the same
)

// A usageError is the user's to mend on the command line: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	prepare()
	ctx, stop := interruptible(os.Stderr)
	code := execute(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// prepare says how the process dies, before anything can go wrong.
func prepare() {
	// A fault must not look like a mistake on the command line, for which Go's runtime would leave the same exit code.
	bindings.EndOnFault()
	debug.SetTraceback("crash")
	// Where standard output is closed, writing fails like anywhere else, instead of ending the process behind our back.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	paceMemory()
}

// gcPercent is how much garbage there may be, in percent of what is in use, before it is collected. What is in use is
// mostly tokens, which cost the collector nothing: by Go's own 100 a run takes twice their memory, by this a quarter
// more, in the same time (10 MB of JSONL: 12.5 s and 13.2 s).
const gcPercent = 25

// paceMemory holds memory close to what is in use, unless the user has said by Go's own means what is wanted.
func paceMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// execute is the whole command: it parses args, prints, and returns the exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	out := &sink{w: stdout}
	stderr = &sink{w: stderr}
	defer func() {
		if err := out.close(); err != nil && code == exitDone {
			fmt.Fprintf(stderr, "ggtune: standard output: %v\n", err)
			code = exitFailure
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "ggtune: internal error: %v\nThis is a fault in ggtune, not in your input. Please "+
				"report it with the command line, the output of\n"+
				"`ggtune version` and the lines below to https://github.com/ggtune/ggtune/issues\n\n%s", p,
				debug.Stack())
			code = exitFault
		}
	}()
	app := newApp(stdin, out, stderr)
	args, err := arrange(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	return exitCode(ctx, err, stderr)
}

// exitCode prints err once and turns it into an exit code.
func exitCode(ctx context.Context, err error, stderr io.Writer) int {
	var usage usageError
	var settings *config.Error
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted), errors.Is(err, run.ErrAsked),
		errors.Is(err, context.Canceled) && context.Cause(ctx) == errInterrupted:
		if err != errInterrupted {
			fmt.Fprintln(stderr, "ggtune:", err)
		}
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &settings):
		fmt.Fprintln(stderr, "ggtune:", err)
		return exitUsage
	}
	fmt.Fprintln(stderr, "ggtune:", err)
	return exitFailure
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:  "ggtune",
		Usage: "fine-tune a GGUF model where it lies",
		Description: "Trains adapters on quantized GGUF models, on the CPU, offline; llama.cpp and Ollama load what " +
			"it writes.\n\n" +
			"  ggtune train    -m base.gguf -d data.jsonl -o run\n" +
			"  ggtune generate -m base.gguf -a run/adapter.gguf -p \"Once upon a time\" -n 64\n" +
			"  llama-cli       -m base.gguf --lora run/adapter.gguf\n\n" +
			"Start with `ggtune demo`: a minute, nothing to download.",
		Reader:                    stdin,
		Writer:                    stdout,
		ErrWriter:                 stderr,
		HideVersion:               true, // `ggtune version` and --version below say more than cli's line
		DisableSliceFlagSeparator: true, // file names may hold commas
		CustomAppHelpTemplate:     appHelp,
		Commands:                  commands(),
		Flags:                     []cli.Flag{&cli.BoolFlag{Name: "version", Usage: "print the version"}},
		ExitErrHandler:            func(*cli.Context, error) {}, // execute reports; cli would call os.Exit
		OnUsageError:              func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		Action: func(c *cli.Context) error {
			if c.Bool("version") {
				return printVersion(c, false)
			}
			if c.Args().Present() {
				return unknownName("command", c.Args().First(), commandNames(c.App), "`ggtune help` lists all")
			}
			return usagef("no command given; try `ggtune demo`, or `ggtune help` for all")
		},
	}
}

// commands lists the subcommands in the order in which a user meets them.
func commands() []*cli.Command {
	list := []*cli.Command{demoCommand(), trainCommand(), watchCommand(), runsCommand(), evalCommand(),
		scoreCommand(), embedCommand(), mineCommand(), searchCommand(),
		generateCommand(),
		chatCommand(), rateCommand(), compareCommand(), inspectCommand(), planCommand(), checkCommand(), benchCommand(),
		newCommand(), quantizeCommand(), healCommand(), imatrixCommand(), mergeCommand(), adapterCommand(),
		convertCommand(), exportCommand(), completionCommand(), versionCommand()}
	for _, c := range list {
		c.CustomHelpTemplate = commandHelp
		c.HideHelpCommand = true // an argument may be a file of that name
		for _, f := range c.Flags {
			if b, ok := f.(*cli.BoolFlag); ok {
				b.DisableDefaultText = true // "(default: false)" says nothing
			}
		}
		c.OnUsageError = func(c *cli.Context, err error, _ bool) error {
			return usagef("%s: %w (`ggtune %s --help` lists all options)", c.Command.Name,
				plainFlagError(c.Command, err), c.Command.Name)
		}
	}
	return list
}

// badValue matches the flag package's message for a value that it cannot read.
var badValue = regexp.MustCompile(`(?s)^invalid (?:boolean )?value (".*") for (?:flag )?-([^ ]+): `)

// plainFlagError takes the Go out of the flag package's messages, and says what is expected.
func plainFlagError(c *cli.Command, err error) error {
	m := badValue.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	expected := "another"
	for _, f := range c.Flags {
		if !slices.Contains(f.Names(), m[2]) {
			continue
		}
		switch f.(type) {
		case *cli.IntFlag:
			expected = "a whole number"
		case *cli.Uint64Flag:
			expected = "a whole number of 0 or more"
		case *cli.Float64Flag:
			expected = "a number"
		case *cli.BoolFlag:
			expected = "true or false"
		case *cli.GenericFlag: // whose value says it itself
			return fmt.Errorf("%s: %s", dashes(m[2]), err.Error()[len(m[0]):])
		}
	}
	return fmt.Errorf("invalid value %s for option %s; expected %s", m[1], dashes(m[2]), expected)
}

func commandNames(app *cli.App) []string {
	var names []string
	for _, c := range app.Commands {
		names = append(names, c.Name)
	}
	if !slices.Contains(names, "help") { // cli adds it once it runs
		names = append(names, "help")
	}
	return names
}

const appHelp = `{{.Name}}: {{.Usage}}

{{.Description}}

Commands:
{{range .VisibleCommands}}  {{printf "%-11s" .Name}} {{if eq .Name "help"}}list the commands, or say what one does{{else}}{{.Usage}}{{end}}
{{end}}
ggtune COMMAND --help shows a command's options and examples. Options may stand before or after arguments.
Exit codes: 0 done, 1 failure, 2 usage, 70 a fault in ggtune, 130 interrupted.
`

const commandHelp = `ggtune {{.Name}}: {{.Usage}}

Usage: ggtune {{.Name}} {{.UsageText}}
{{if .Description}}
{{.Description}}
{{end}}{{range .VisibleFlagCategories}}
{{if .Name}}{{.Name}}{{else}}Options{{end}}:
{{range .Flags}}  {{.}}
{{end}}{{else}}{{if .VisibleFlags}}
Options:
{{range .VisibleFlags}}  {{.}}
{{end}}{{end}}{{end}}`
