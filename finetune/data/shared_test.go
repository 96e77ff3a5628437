package data_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/testdata"
)

// TestSharedData reads every real dataset and compares the number of records with what its collectors counted.
func TestSharedData(t *testing.T) {
	dir := testdata.Shared(t)
	ni := "natural-instructions"
	pairs, verdicts := data.Options{Want: data.WantPairs}, data.Options{Want: data.WantVerdicts}
	for _, c := range []struct {
		file    string
		records int
		format  string
		dropped int
		opts    data.Options
	}{
		{file: "instruct/alpaca_en_demo.json", records: 700, format: "alpaca"},
		{file: "instruct/alpaca_zh_demo.json", records: 716, format: "alpaca"},
		{file: "instruct/glaive_toolcall_en_demo.json", records: 219, format: "sharegpt"},
		{file: "instruct/v1_sft_demo.jsonl", records: 352, format: "messages"},
		{file: "instruct/reason_tool_use_demo_50.jsonl", records: 36, format: "messages"},
		{file: "instruct/sharegpt_dummy_conversation.json", records: 276, format: "sharegpt"},
		{file: "instruct/llms_from_scratch_instructions.json", records: 778, format: "alpaca"},
		{file: "instruct/self_instruct_seed_tasks.jsonl", records: 125, format: "self-instruct"},
		{file: "instruct/user_oriented_instructions.jsonl", records: 175, format: "self-instruct"},
		{file: "instruct/gsm8k_train_alpaca.json", records: 5240, format: "alpaca"},
		{file: "instruct/winogrande_alpaca.json", records: 887, format: "alpaca"},
		{file: "instruct/openbookqa_alpaca.json", records: 3453, format: "alpaca"},
		{file: "instruct/code_alpaca_2k.json", records: 1448, format: "alpaca", dropped: 2},
		{file: "instruct/HumanEval.jsonl", records: 131, format: "completion",
			opts: data.Options{Columns: map[string]string{"completion": "canonical_solution"}}},
		{file: "instruct/small_talk_messages.jsonl", records: 513, format: "messages"},
		{file: "instruct/tinystories_instruct.jsonl", records: 36, format: "alpaca"},
		{file: "instruct/mctaco_event_duration_question_generation.json", records: 126, format: ni},
		{file: "instruct/natural-instructions", records: 8 * 1500, format: ni},
		{file: "instruct/natural-instructions-v1", records: 6 + 48 + 38 + 22 + 51 + 50 + 70 + 31, format: ni},
		{file: "text/tinyshakespeare.txt", records: 1, format: "text"},
		{file: "text/wikitext2_valid.txt", records: 1, format: "text"},
		{file: "text/wikitext2_test.txt", records: 1, format: "text"},
		{file: "text/wiki_demo.txt", records: 1, format: "text"},
		{file: "text/wiki_demo.txt", records: 21, format: "text", opts: data.Options{Split: "line"}},
		{file: "text/war_and_peace.txt", records: 3, format: "text"}, // 2.2 MB in pieces of at most 1 MiB
		{file: "text/sherlock_holmes.txt", records: 1, format: "text"},
		{file: "text/wizard_of_oz.txt", records: 1, format: "text"},
		{file: "text/tinystories.txt", records: 1, format: "text"},
		{file: "text/tinystories.jsonl", records: 153, format: "text"},
		{file: "text/c4_demo.jsonl", records: 223, format: "text"},
		{file: "text/medical_medquad.txt", records: 6, format: "text"},
		{file: "text/medical_medquad.txt", records: 471, format: "text", opts: data.Options{Split: "\n\n# "}},
		{file: "text/tang_poems_zh.json", records: 7365, format: "text",
			opts: data.Options{Columns: map[string]string{"text": "content"}}},
		{file: "pairs/medquad_qa.jsonl", records: 3065, format: "qa"},
		{file: "preference/mctaco_answer_pairs.jsonl", records: 860, format: "preference", opts: pairs},
		{file: "preference/alpaca_eval_gpt4_judged.jsonl", records: 2706, format: "preference", opts: pairs},
		{file: "preference/dpo_en_demo.json", records: 194, format: "sharegpt-preference", opts: pairs},
		{file: "preference/dpo_zh_demo.json", records: 206, format: "sharegpt-preference", opts: pairs},
		{file: "preference/v1_dpo_demo.jsonl", records: 7, format: "messages-preference", opts: pairs},
		// equal answers
		{file: "preference/llms_from_scratch_preference.json", records: 778, format: "alpaca-preference", dropped: 5,
			opts: pairs},
		{file: "preference/mctaco_answers_kto.jsonl", records: 3783, format: "kto", opts: verdicts},
		{file: "preference/kto_en_demo.json", records: 214, format: "kto", opts: verdicts},
		{file: "preference/llms_from_scratch_preference.json", records: 778, format: "alpaca-preference", dropped: 5,
			opts: verdicts},
	} {
		t.Run(strings.ReplaceAll(c.file, "/", "_")+c.opts.Split+fmt.Sprint(c.opts.Want), func(t *testing.T) {
			path := testdata.Path(t, c.file)
			d, err := data.Open(context.Background(), []string{path}, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			st := d.Stats()
			dropped := 0
			for _, drop := range st.Dropped {
				dropped += drop.Count
			}
			if st.Records != c.records || d.Format() != c.format || dropped != c.dropped {
				t.Errorf("got %d records of format %q, %d dropped; want %d, %q, %d", st.Records, d.Format(), dropped,
					c.records, c.format, c.dropped)
			}
			if st.Kept != d.Len() || st.Read != st.Kept+dropped {
				t.Errorf("the counts do not add up: %+v, Len %d", st, d.Len())
			}
			for _, i := range []int{0, d.Len() / 2, d.Len() - 1} {
				if _, err := d.At(i); err != nil {
					t.Errorf("example %d: %v", i, err)
				}
			}
		})
	}
	for _, c := range []struct {
		file, want string
		opts       data.Options
	}{
		{"instruct/mctaco.tsv", "no known format", data.Options{}},
		{"instruct/HumanEval.jsonl", "no known format", pairs},
		{"preference/kto_en_demo.json", "learns from pairs", pairs},
		{"instruct/alpaca_en_demo.json", "learns from verdicts", verdicts},
		{"preference/alpaca_eval_gpt4_judged.jsonl", "preference data", data.Options{}},
		{"preference/mctaco_answer_pairs.jsonl", "preference data", data.Options{}},
		{"preference/mctaco_answers_kto.jsonl", "preference data", data.Options{}},
		{"preference/dpo_en_demo.json", "preference data", data.Options{}},
		{"preference/kto_en_demo.json", "preference data", data.Options{}},
		{"preference/v1_dpo_demo.jsonl", "preference data", data.Options{}},
		{"preference/llms_from_scratch_preference.json", "preference data", data.Options{}},
	} {
		t.Run("refused_"+strings.ReplaceAll(c.file, "/", "_")+fmt.Sprint(c.opts.Want), func(t *testing.T) {
			d, err := data.Open(context.Background(), []string{filepath.Join(dir, c.file)}, c.opts)
			if err == nil {
				d.Close()
				t.Fatalf("got no error, want one that says %q", c.want)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want one that says %q", err, c.want)
			}
		})
	}
}
