package config

import (
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/optim"
	"github.com/ggtune/ggtune/finetune/reward"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/quant/mix"
)

// qatTypes lists storage types and mixes.
func qatTypes() (names []string) {
	for _, m := range mix.All() {
		names = append(names, m.Name)
	}
	return names
}

// values are the names that a field may hold, where it holds one of a few. Of TextSplit, Template and ALoRA they are
// not all: a separator, a file or a text will do as well. A name of Reward's may have more behind it.
func (c *Config) values() map[any][]string {
	return map[any][]string{
		&c.Format:        data.Formats(),
		&c.TextSplit:     data.Splits(),
		&c.Dedup:         dedups,
		&c.Method:        method.Names(),
		&c.RankedPairs:   rankedPairs,
		&c.RankedRows:    rankedRows,
		&c.Reward:        append([]string{RewardModel}, reward.Names()...),
		&c.ValueAdapter:  valueAdapters,
		&c.RolloutEngine: rolloutEngines,
		&c.Template:      template.Names(),
		&c.Mask:          template.Masks(),
		&c.ControlTokens: controlTokens,
		&c.OnLong:        encode.OnLongs(),
		&c.Packing:       append([]string{autoWord}, encode.Packings()...),
		&c.Pooling:       poolings(),
		&c.Tune:          tunes,
		&c.ALoRA:         {autoWord},
		&c.OutType:       outTypes,
		&c.Master:        masters,
		&c.QAT:           qatTypes(),
		&c.Init:          inits(),
		&c.Optim:         optim.Names(),
		&c.MuonScale:     optim.MuonScales(),
		&c.Schedule:      optim.ScheduleNames(),
		&c.Device:        Devices(),
	}
}
