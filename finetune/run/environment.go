package run

import (
	"fmt"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/environment"
	"github.com/ggtune/ggtune/finetune/rl"
	"github.com/ggtune/ggtune/finetune/rollout"
)

// converses refuses prompts that are no conversations where an environment answers.
func converses(cfg *config.Config, tasks []corpus.Task) error {
	if cfg.EnvCmd == "" {
		return nil
	}
	for _, t := range tasks {
		if t.Messages == nil {
			return fmt.Errorf("%s: the prompt is literal text, and an environment (--env-cmd) answers in turns of a "+
				"conversation; write it as \"messages\": [{\"role\": \"user\", \"content\": …}]", t.Source)
		}
	}
	return nil
}

// exchanges say how an environment takes part; nil: there is none. No exchange is longer than what writes them holds.
func exchanges(cfg *config.Config, env *environment.Environment, text *corpus.Reader,
	open rollout.Config) *rl.Exchanges {
	if env == nil {
		return nil
	}
	return &rl.Exchanges{Environment: env, Speaker: text, MaxTurns: cfg.MaxTurns, Ctx: open.Ctx}
}
