package main

// A kind is a way of training, as options of ggtune train.
type kind struct {
	name    string
	options []string
	rate    float64 // times -rate: where the search for its learning rate begins
	from    bool    // needs the full-precision file
}

// kinds are the table's rows. Ranks are such that as many numbers are trained as in a LoRA of rank 16, where a kind can
// have that: one that trains B alone has twice the rank.
var kinds = []kind{
	{name: "LoRA", options: []string{"--rank", "16"}, rate: 1},
	{name: "rsLoRA", options: []string{"--rank", "16", "--rslora"}, rate: 1},
	{name: "LoRA+", options: []string{"--rank", "16", "--lora-plus", "16"}, rate: 0.3},
	{name: "QA-LoRA (--mergeable)", options: []string{"--rank", "16", "--mergeable"}, rate: 1},
	{name: "PiSSA", options: []string{"--rank", "16", "--init", "pissa"}, rate: 1},
	{name: "OLoRA", options: []string{"--rank", "16", "--init", "olora"}, rate: 1},
	{name: "LoftQ", options: []string{"--rank", "16", "--init", "loftq"}, rate: 1, from: true},
	{name: "EVA", options: []string{"--rank", "16", "--init", "eva"}, rate: 1},
	{name: "LoRA-FA", options: []string{"--tune", "lora-fa", "--rank", "32"}, rate: 1},
	{name: "DoRA", options: []string{"--tune", "dora", "--rank", "16"}, rate: 1},
	{name: "VeRA", options: []string{"--tune", "vera", "--rank", "256"}, rate: 10},
	{name: "(IA)³", options: []string{"--tune", "ia3"}, rate: 10},
	{name: "norms", options: []string{"--tune", "part", "--train", "norms"}, rate: 3},
	{name: "full", options: []string{"--tune", "full"}, rate: 0.3},
}
