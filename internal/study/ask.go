package study

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Ask runs a program, reads the JSON that it prints into a value unless that is nil, and gives the processor time it
// took, on all cores together. Into a *string goes what it prints, as it is. A failure holds what the program wrote to
// standard error.
func Ask(ctx context.Context, into any, program string, args ...string) (time.Duration, error) {
	var said, failed strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &said, &failed
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, failed.String())
	}
	took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	switch into := into.(type) {
	case nil:
		return took, nil
	case *string:
		*into = said.String()
		return took, nil
	}
	if err := json.Unmarshal([]byte(said.String()), into); err != nil {
		return took, fmt.Errorf("%s %s: %w", program, strings.Join(args, " "), err)
	}
	return took, nil
}
