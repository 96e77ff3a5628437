package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/ggtune/ggtune/internal/count"
	"github.com/ggtune/ggtune/internal/visible"
)

// patience is how long a program may take to end when it is asked to, or to hand over what it has printed.
const patience = 2 * time.Second

// A line is one that a process printed.
type line struct {
	text  string
	fault error // why it is no whole line; nil: it is one
}

// A process is a program that runs, with all that it starts.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr *os.File
	lines  chan line // what it prints; closed when it has ended
	quit   chan struct{}
	said   tail          // the end of its standard error
	done   chan struct{} // closed when all of it has ended
	err    error         // of Wait, once done

	answered bool // a call
}

func startProcess(command string) (_ *process, err error) {
	var files []*os.File
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
		}
	}()
	var ends [3][2]*os.File // of each of its three files the one to read and the one to write
	for i := range ends {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		ends[i] = [2]*os.File{r, w}
		files = append(files, r, w)
	}
	p := &process{cmd: exec.Command("sh", "-c", command), stdin: ends[0][1], stdout: ends[1][0], stderr: ends[2][0],
		lines: make(chan line), quit: make(chan struct{}), done: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = ends[0][0], ends[1][1], ends[2][1]
	// Python keeps what it prints to a pipe until some kilobytes are there, and would be waited for.
	p.cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	ownGroup(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for _, f := range []*os.File{ends[0][0], ends[1][1], ends[2][1]} {
		f.Close()
	}
	go p.run()
	return p, nil
}

// run reads what the process prints until it has ended.
func (p *process) run() {
	read := make(chan struct{}, 2)
	go func() {
		p.read()
		read <- struct{}{}
	}()
	go func() {
		io.Copy(&p.said, p.stderr) // an error ends it as the end does
		read <- struct{}{}
	}()
	p.err = p.cmd.Wait()
	killGroup(p.cmd) // what it left behind
	for _, f := range []*os.File{p.stdout, p.stderr} {
		f.SetReadDeadline(time.Now().Add(patience)) // for what escaped and holds the pipe
	}
	<-read
	<-read
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		f.Close()
	}
	close(p.lines)
	close(p.done)
}

// mostLine bounds a line that a program prints, bytes: more than a model reads at once.
const mostLine = 1 << 20

var errLong = errors.New("the line goes on beyond 1 MiB, the most that is read of one")

// read hands on lines, the last one without an end too, until there are no more or nobody wants them.
func (p *process) read() {
	b := bufio.NewReaderSize(p.stdout, mostLine)
	for {
		text, err := b.ReadSlice('\n')
		if len(text) > 0 {
			one := line{text: string(text)}
			if errors.Is(err, bufio.ErrBufferFull) {
				one.fault = errLong
			}
			select {
			case p.lines <- one:
			case <-p.quit:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// kill ends the process and all that it started, and waits for it.
func (p *process) kill() {
	select {
	case <-p.quit:
	default:
		close(p.quit)
	}
	select {
	case <-p.done: // its number may be another's by now
	default:
		killGroup(p.cmd)
	}
	p.stdin.Close()
	<-p.done
}

// end waits for a process whose output has ended and says what became of it; nil: it did as it should.
func (p *process) end() error {
	p.kill()
	return p.err
}

// bad stops the process and gives the account of it.
func (p *process) bad(again bool, format string, args ...any) error {
	p.kill()
	return &misbehaved{what: fmt.Sprintf(format, args...), again: again, said: p.said.String()}
}

func (p *process) hung(limit string, got, want int, writing bool) error {
	what := fmt.Sprintf("printed %d of %d lines in %s", got, want, limit)
	if writing {
		what += "; it does not read all that it is given"
	} else {
		what += "; it must print each line at once (flush), without waiting for the end of its input"
	}
	return p.bad(true, "%s", what)
}

func (p *process) died(got, want int) error {
	<-p.done
	how := "with exit status 0"
	if p.err == nil && p.answered && got == 0 {
		return errEnded
	}
	if p.err != nil {
		how = fmt.Sprintf("(%v)", p.err)
	}
	// A shell says with 126 and 127 that there is no such program.
	code := p.cmd.ProcessState.ExitCode()
	return p.bad(code != 126 && code != 127, "ended %s after %d of %d lines", how, got, want)
}

// quiet says whether the process keeps quiet when it has answered. What comes later is found at the next call.
func (p *process) quiet(ctx context.Context, n int) error {
	const moment = 20 * time.Millisecond // a program that prints two lines for one has printed some by then
	select {
	case line, ok := <-p.lines:
		if ok {
			return p.bad(false, "printed more than the %s that it was asked for; the next is %s; expected one line "+
				"for each that it reads (messages go to standard error)", count.Of(n, "line"),
				visible.Excerpt(line.text))
		}
	case <-ctx.Done():
	case <-time.After(moment):
	}
	return nil
}
