package reward

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// instructions are IFEval's, by its names. Each reads what it is given, once for each answer.
var instructions = map[string]func(k *kwargs) (demand, error){
	"keywords:existence": func(k *kwargs) (demand, error) {
		return func(a string) bool {
			return !slices.ContainsFunc(k.Keywords, func(w string) bool { return occurrences(a, w) == 0 })
		}, needs("keywords", len(k.Keywords) > 0)
	},
	"keywords:frequency": func(k *kwargs) (demand, error) {
		d, err := counting(k.Relation, k.Frequency, "frequency",
			func(a string) int { return occurrences(a, k.Keyword) })
		return d, errors.Join(err, needs("keyword", k.Keyword != ""))
	},
	"keywords:forbidden_words": func(k *kwargs) (demand, error) {
		return func(a string) bool {
			return !slices.ContainsFunc(k.ForbiddenWords, func(w string) bool { return hasWord(a, w) })
		}, needs("forbidden_words", len(k.ForbiddenWords) > 0)
	},
	"keywords:letter_frequency": func(k *kwargs) (demand, error) {
		letter := strings.ToLower(k.Letter)
		d, err := counting(k.LetRelation, k.LetFrequency, "let_frequency",
			func(a string) int { return strings.Count(strings.ToLower(a), letter) })
		return d, errors.Join(err, needs("letter", letter != ""))
	},
	"length_constraints:number_sentences": func(k *kwargs) (demand, error) {
		return counting(k.Relation, k.NumSentences, "num_sentences", sentences)
	},
	"length_constraints:number_words": func(k *kwargs) (demand, error) {
		return counting(k.Relation, k.NumWords, "num_words",
			func(a string) int { return len(words.FindAllString(a, -1)) })
	},
	"length_constraints:number_paragraphs": func(k *kwargs) (demand, error) {
		return func(a string) bool {
			n, ok := filled(divider.Split(a, -1))
			return ok && n == *k.NumParagraphs
		}, needs("num_paragraphs", k.NumParagraphs != nil)
	},
	"length_constraints:nth_paragraph_first_word": func(k *kwargs) (demand, error) {
		return func(a string) bool { return firstWord(a, *k.NumParagraphs, *k.NthParagraph, k.FirstWord) },
			needs("num_paragraphs, nth_paragraph (from 1) and first_word",
				k.NumParagraphs != nil && k.NthParagraph != nil && *k.NthParagraph > 0 && k.FirstWord != "")
	},
	"detectable_content:number_placeholders": func(k *kwargs) (demand, error) {
		return atLeast(k.NumPlaceholders, "num_placeholders", func(a string) int {
			return len(placeholders.FindAllString(a, -1))
		})
	},
	"detectable_content:postscript": func(k *kwargs) (demand, error) {
		re := regexp.MustCompile(regexp.QuoteMeta(strings.ToLower(strings.TrimSpace(k.Postscript))))
		switch strings.TrimSpace(k.Postscript) {
		case "P.P.S":
			re = regexp.MustCompile(`p\.\s?p\.\s?s`)
		case "P.S.":
			re = regexp.MustCompile(`p\.\s?s\.`)
		}
		return func(a string) bool { return re.MatchString(strings.ToLower(a)) },
			needs("postscript_marker", strings.TrimSpace(k.Postscript) != "")
	},
	"detectable_format:number_bullet_lists": func(k *kwargs) (demand, error) {
		return func(a string) bool { return len(bullets.FindAllString(a, -1)) == *k.NumBullets },
			needs("num_bullets", k.NumBullets != nil)
	},
	"detectable_format:constrained_response": func(*kwargs) (demand, error) {
		return func(a string) bool {
			return strings.Contains(a, "My answer is yes.") || strings.Contains(a, "My answer is no.") ||
				strings.Contains(a, "My answer is maybe.")
		}, nil
	},
	"detectable_format:number_highlighted_sections": func(k *kwargs) (demand, error) {
		return atLeast(k.NumHighlights, "num_highlights", highlights)
	},
	"detectable_format:multiple_sections": func(k *kwargs) (demand, error) {
		re := regexp.MustCompile(regexp.QuoteMeta(strings.TrimSpace(k.SectionSplitter)) + `\s?\d+`)
		d, err := atLeast(k.NumSections, "num_sections", func(a string) int { return len(re.FindAllString(a, -1)) })
		return d, errors.Join(err, needs("section_spliter", strings.TrimSpace(k.SectionSplitter) != ""))
	},
	"detectable_format:json_format": jsonFormat,
	"detectable_format:title": func(*kwargs) (demand, error) {
		return func(a string) bool {
			return slices.ContainsFunc(titles.FindAllString(a, -1), func(t string) bool {
				return strings.TrimSpace(strings.TrimRight(strings.TrimLeft(t, "<"), ">")) != ""
			})
		}, nil
	},
	"combination:two_responses": func(*kwargs) (demand, error) {
		return func(a string) bool {
			parts := strings.Split(a, "******")
			n, ok := filled(parts)
			parts = slices.DeleteFunc(parts, func(p string) bool { return strings.TrimSpace(p) == "" })
			return ok && n == 2 && strings.TrimSpace(parts[0]) != strings.TrimSpace(parts[1])
		}, nil
	},
	"combination:repeat_prompt": func(k *kwargs) (demand, error) {
		prompt := strings.ToLower(strings.TrimSpace(k.PromptToRepeat))
		return func(a string) bool { return strings.HasPrefix(strings.ToLower(strings.TrimSpace(a)), prompt) },
			needs("prompt_to_repeat", prompt != "")
	},
	"startend:end_checker": func(k *kwargs) (demand, error) {
		end := strings.ToLower(strings.TrimSpace(k.EndPhrase))
		return func(a string) bool {
			return strings.HasSuffix(strings.ToLower(strings.Trim(strings.TrimSpace(a), `"`)), end)
		}, needs("end_phrase", end != "")
	},
	"startend:quotation": func(*kwargs) (demand, error) {
		return func(a string) bool {
			a = strings.TrimSpace(a)
			return len(a) > 1 && a[0] == '"' && a[len(a)-1] == '"'
		}, nil
	},
	"change_case:capital_word_frequency": func(k *kwargs) (demand, error) {
		return counting(k.CapitalRelation, k.CapitalCount, "capital_frequency", func(a string) (n int) {
			for _, w := range hyphenated.FindAllString(a, -1) {
				if allCased(w, unicode.IsUpper, unicode.IsLower) {
					n++
				}
			}
			return n
		})
	},
	"change_case:english_capital": func(*kwargs) (demand, error) {
		return func(a string) bool { return allCased(a, unicode.IsUpper, unicode.IsLower) }, nil
	},
	"change_case:english_lowercase": func(*kwargs) (demand, error) {
		return func(a string) bool { return allCased(a, unicode.IsLower, unicode.IsUpper) }, nil
	},
	"punctuation:no_comma": func(*kwargs) (demand, error) {
		return func(a string) bool { return !strings.Contains(a, ",") }, nil
	},
}

var (
	words        = regexp.MustCompile(`[\pL\pN_]+`)
	hyphenated   = regexp.MustCompile(`[\pL\pN_]+(?:['’.-][\pL\pN_]+)*`)
	divider      = regexp.MustCompile(`\s?\*\*\*\s?`)
	placeholders = regexp.MustCompile(`\[[^\]\n]*\]`)
	bullets      = regexp.MustCompile(`(?m)^\s*(?:\*[^*\n].*|-.*)$`)
	highlighted  = regexp.MustCompile(`\*[^\n*]*\*`)
	doubled      = regexp.MustCompile(`\*\*[^\n*]*\*\*`)
	sentenceEnd  = regexp.MustCompile(`[.?!]["'”’)\]]*\s+|[。！？]`)
	titles       = regexp.MustCompile(`<<[^\n]+>>`)
)

// needs is an error unless what an instruction is given is there.
func needs(name string, there bool) error {
	if there {
		return nil
	}
	return fmt.Errorf("%s is missing", name)
}

// counting compares how many of something an answer has.
func counting(relation string, number *int, name string, count func(string) int) (demand, error) {
	if number == nil {
		return nil, needs(name, false)
	}
	n := *number
	switch relation {
	case "less than":
		return func(a string) bool { return count(a) < n }, nil
	case "at least":
		return func(a string) bool { return count(a) >= n }, nil
	case "at most":
		return func(a string) bool { return count(a) <= n }, nil
	case "exactly":
		return func(a string) bool { return count(a) == n }, nil
	}
	return nil, fmt.Errorf(`the relation is %q; known: "less than", "at least", "at most", "exactly"`, relation)
}

func atLeast(number *int, name string, count func(string) int) (demand, error) {
	return counting("at least", number, name, count)
}

// occurrences counts a text in another, letters' case aside.
func occurrences(text, part string) int {
	if part == "" {
		return 0
	}
	return strings.Count(strings.ToLower(text), strings.ToLower(part))
}

// hasWord says whether a text holds a word, or several, whole.
func hasWord(text, word string) bool {
	text, word = strings.ToLower(text), strings.ToLower(word)
	if word == "" {
		return false
	}
	inWord := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(word)
		before, _ := utf8.DecodeLastRuneInString(text[:start]) // at an end no letter either
		after, _ := utf8.DecodeRuneInString(text[end:])
		if !inWord(before) && !inWord(after) {
			return true
		}
		from = end
	}
}

func sentences(text string) (n int) {
	for _, s := range sentenceEnd.Split(text, -1) {
		if strings.TrimSpace(s) != "" {
			n++
		}
	}
	return n
}

// filled counts the parts that say something; ok is false where one within does not.
func filled(parts []string) (n int, ok bool) {
	for i, p := range parts {
		switch {
		case strings.TrimSpace(p) != "":
			n++
		case i > 0 && i < len(parts)-1:
			return 0, false
		}
	}
	return n, true
}

// firstWord says whether a text has n paragraphs, parted by empty lines, and the one of that number begins with a word.
func firstWord(text string, n, number int, word string) bool {
	parts := strings.Split(text, "\n\n")
	full := 0
	for _, p := range parts {
		if strings.TrimSpace(p) != "" {
			full++
		}
	}
	if full != n || number > full {
		return false
	}
	fields := strings.Fields(parts[number-1])
	if len(fields) == 0 {
		return false
	}
	first := strings.TrimLeft(strings.TrimLeft(fields[0], "'"), `"`)
	if i := strings.IndexAny(first, `.,?!'"`); i >= 0 {
		first = first[:i]
	}
	return strings.EqualFold(first, word)
}

func highlights(text string) (n int) {
	for _, re := range []*regexp.Regexp{highlighted, doubled} {
		for _, h := range re.FindAllString(text, -1) {
			if strings.TrimSpace(strings.Trim(h, "*")) != "" {
				n++
			}
		}
	}
	return n
}

// allCased says whether a text has letters of a case, and none of the other.
func allCased(text string, is, not func(rune) bool) bool {
	return strings.ContainsFunc(text, is) && !strings.ContainsFunc(text, not)
}

// jsonFormat takes any JSON value, as IFEval does, and of a schema if there is one.
func jsonFormat(k *kwargs) (demand, error) {
	var schema *jsonschema.Schema
	if len(k.Schema) > 0 && string(k.Schema) != "null" {
		var err error
		if schema, err = compileSchema("schema", string(k.Schema)); err != nil {
			return nil, err
		}
	}
	return func(a string) bool {
		a = strings.TrimSpace(a)
		for _, fence := range []string{"```json", "```Json", "```JSON", "```"} {
			a = strings.TrimPrefix(a, fence)
		}
		a = strings.TrimSpace(strings.TrimSuffix(a, "```"))
		return json.Valid([]byte(a)) && valid(a, schema)
	}, nil
}
