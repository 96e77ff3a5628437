package main

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed facts.txt
var factsText string

// A fact is one thing the demo model learns: several ways to ask, one answer.
type fact struct {
	Ask    []string
	Answer string
}

// A table is one section of facts.txt: records of trimmed fields.
type table [][]string

// parseTables reads the sections of facts.txt. Lines starting with '#' say what the fields mean.
func parseTables(text string) (map[string]table, error) {
	tables := map[string]table{}
	section := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
		case section == "":
			return nil, fmt.Errorf("facts.txt:%d: a record before the first [section]", i+1)
		default:
			fields := strings.Split(line, "|")
			for k := range fields {
				fields[k] = strings.TrimSpace(fields[k])
			}
			t := tables[section]
			if len(t) > 0 && section != "after" && len(t[0]) != len(fields) {
				return nil, fmt.Errorf("facts.txt:%d: %d fields in section %s, expected %d", i+1, len(fields), section,
					len(t[0]))
			}
			tables[section] = append(t, fields)
		}
	}
	return tables, nil
}

// article puts "a" or "an" before a noun.
func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// sentence starts with a capital letter.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// allFacts turns the tables into questions and answers, in a fixed order.
func allFacts(t map[string]table) []fact {
	var fs []fact
	add := func(answer string, ask ...string) {
		for i := range ask {
			ask[i] = sentence(ask[i])
		}
		fs = append(fs, fact{Ask: ask, Answer: sentence(answer)})
	}
	for _, r := range t["animal"] {
		animalFacts(add, r)
	}
	colours := []string{"blue", "red", "green", "yellow", "white"}
	for i, r := range t["colour"] {
		add(r[0]+" is "+r[1]+".", "what colour is "+r[0]+"?", "tell me the colour of "+r[0]+".")
		add("yes, "+r[0]+" is "+r[1]+".", "is "+r[0]+" "+r[1]+"?")
		if other := colours[i%len(colours)]; other != r[1] {
			add("no, "+r[0]+" is "+r[1]+".", "is "+r[0]+" "+other+"?")
		}
	}
	for _, r := range t["taste"] {
		add(r[0]+" tastes "+r[1]+".", "what does "+r[0]+" taste like?", "how does "+r[0]+" taste?")
	}
	opposite := map[string]string{}
	for _, r := range t["opposite"] {
		opposite[r[0]], opposite[r[1]] = r[1], r[0]
		for _, w := range [][2]string{{r[0], r[1]}, {r[1], r[0]}} {
			add("the opposite of "+w[0]+" is "+w[1]+".", "what is the opposite of "+w[0]+"?",
				"tell me the opposite of "+w[0]+".")
		}
	}
	for i, r := range t["feel"] {
		add("yes, "+r[0]+" is "+r[1]+".", "is "+r[0]+" "+r[1]+"?")
		if o, ok := opposite[r[1]]; ok {
			add("no, "+r[0]+" is "+r[1]+".", "is "+r[0]+" "+o+"?")
			pair := [2]string{r[1], o}
			if i%2 == 1 {
				pair = [2]string{o, r[1]}
			}
			add(r[0]+" is "+r[1]+".", "is "+r[0]+" "+pair[0]+" or "+pair[1]+"?")
		}
	}
	for _, r := range t["use"] {
		add("we use "+r[0]+" to "+r[1]+".", "what do we use "+r[0]+" for?", "why do we need "+r[0]+"?")
		add("we need "+r[0]+" to "+r[1]+".", "what do we need to "+r[1]+"?")
	}
	for _, r := range t["job"] {
		who := article(r[0])
		add(who+" "+r[1]+".", "what does "+who+" do?", "what is the work of "+who+"?")
		add(who+" "+r[1]+".", "who "+r[1]+"?")
		add(who+" works "+r[2]+".", "where does "+who+" work?")
	}
	for _, section := range []string{"count", "sense"} {
		for _, r := range t[section] {
			lead := map[string]string{"count": "how many ", "sense": "what do we "}[section]
			add(r[1], lead+r[0]+"?")
		}
	}
	for _, r := range t["when"] {
		add(r[1], r[0])
	}
	seriesFacts(add, t["after"])
	return fs
}

// animalFacts adds what one record of the animal table says.
func animalFacts(add func(string, ...string), r []string) {
	name, home, sound, legs, colour, food, young, size, can := article(r[0]), r[1], r[2], r[3], r[4], r[5], r[6], r[7],
		r[8]
	add(name+" lives "+home+".", "where does "+name+" live?", "where can I find "+name+"?",
		"tell me where "+name+" lives.")
	if sound != "-" {
		add(name+" says "+sound+".", "what does "+name+" say?", "what sound does "+name+" make?")
	}
	add(name+" has "+legs+" legs.", "how many legs does "+name+" have?")
	if legs != "two" {
		add("no, "+name+" has "+legs+" legs.", "does "+name+" have two legs?")
	}
	add(name+" is "+colour+".", "what colour is "+name+"?", "tell me the colour of "+name+".")
	add(name+" eats "+food+".", "what does "+name+" eat?", "what is the food of "+name+"?")
	add("a young "+r[0]+" is called "+article(young)+".", "what is a young "+r[0]+" called?",
		"what do you call a young "+r[0]+"?")
	other := map[string]string{"big": "small", "small": "big"}[size]
	add(name+" is "+size+".", "is "+name+" big or small?", "how big is "+name+"?")
	add("yes, "+name+" is "+size+".", "is "+name+" "+size+"?")
	add("no, "+name+" is "+size+".", "is "+name+" "+other+"?")
	add(name+" can "+can+".", "what can "+name+" do?")
	add(fmt.Sprintf("%s lives %s. It is %s and %s. It eats %s. It can %s.", name, home, size, colour, food, can),
		"tell me about "+name+".", "what do you know about "+name+"?")
}

// seriesFacts adds what comes after and before each member of a series (days, months, …).
func seriesFacts(add func(string, ...string), series table) {
	for _, s := range series {
		for i := 1; i+1 < len(s); i++ {
			a, b := s[i], s[i+1]
			add(b+" comes after "+a+".", "what comes after "+a+"?", "tell me what comes after "+a+".")
			add(a+" comes before "+b+".", "what comes before "+b+"?")
		}
	}
}
