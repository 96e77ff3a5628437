package jinja_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ggtune/ggtune/internal/jinja"
)

// TestBombs renders templates that loop, recurse or grow without end. Each must end with an error about a limit, soon.
func TestBombs(t *testing.T) {
	small := jinja.Limits{Steps: 200_000, Bytes: 4 << 20, Output: 1 << 20}
	nested := strings.Repeat("{% for i in range(1000) %}", 6) + "x" + strings.Repeat("{% endfor %}", 6)
	for _, c := range []struct{ name, source string }{
		{"nested loops", nested},
		{"long range", "{{ range(1000000000) }}"},
		{"output", "{% for i in range(100000) %}" + strings.Repeat("x", 1000) + "{% endfor %}"},
		{"doubling",
			"{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"},
		{"doubling lists",
			"{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"},
		{"repeat", "{{ 'x' * 9223372036854775807 }}"},
		{"repeat lists", "{{ [1, 2] * 1000000000000 }}"},
		{"replace", "{% set a = 'x' * 100000 %}{{ a.replace('x', a).replace('x', a) }}"},
		{"join", "{% set a = 'x' * 100000 %}{{ a|join(a) }}"},
		{"indent", "{% set a = '\n' * 100000 %}{{ a|indent(1000, blank=true) }}"},
		{"macro", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"},
		{"two macros", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}"},
		{"default of a macro", "{% macro f(a=f()) %}{% endmacro %}{{ f() }}"},
		{"caller", "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% " +
			"endmacro %}{{ g() }}"},
		{"recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"},
		{"growing list", "{% set l = [1] %}{% for i in range(100000) %}{% set _ = l.extend(l) %}{% endfor %}"},
		{"cyclic list", "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}"},
		{"cyclic json", "{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}"},
		{"cyclic compare",
			"{% set l = [] %}{% set _ = l.append(l) %}{% set m = [] %}{% set _ = m.append(m) %}{{ l == m }}"},
		{"cyclic order",
			"{% set l = [] %}{% set _ = l.append(l) %}{% set m = [] %}{% set _ = m.append(m) %}{{ l < m }}"},
		{"wide cycle", "{% set l = [] %}{% set _ = l.append(l) %}{% set _ = l.append(l) %}{{ l }}"},
		{"long search", "{% set a = 'x' * 1000000 %}{% for i in range(100000) %}{{ 'y' in a }}{% endfor %}"},
		{"power", "{{ 10 ** 10 ** 10 }}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			got, err := render(c.source, jinja.NewDict(), small)
			var e *jinja.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %d bytes and error %v, want a limit", len(got), err)
			}
			if !e.Limit && !strings.Contains(e.Message, "out of the range") {
				t.Errorf("got %v, want a limit", err)
			}
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// TestDeepSource parses sources nested deeper than any stack would take.
func TestDeepSource(t *testing.T) {
	const n = 50_000
	for name, source := range map[string]string{
		"parentheses": "{{ " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) + " }}",
		"lists":       "{{ " + strings.Repeat("[", n) + strings.Repeat("]", n) + " }}",
		"not":         "{{ " + strings.Repeat("not ", n) + "1 }}",
		"minus":       "{{ " + strings.Repeat("-", n) + "1 }}",
		"blocks":      strings.Repeat("{% if 1 %}", n) + strings.Repeat("{% endif %}", n),
		"else":        "{{ " + strings.Repeat("1 if 0 else ", n) + "1 }}",
		"attributes":  "{{ x" + strings.Repeat(".y", n) + " }}",
		"filters":     "{{ x" + strings.Repeat("|list", n) + " }}",
		"sum":         "{{ 1" + strings.Repeat("+1", n) + " }}",
		"and":         "{{ 1" + strings.Repeat(" and 1", n) + " }}",
		"targets":     "{% for " + strings.Repeat("(", n) + "x" + strings.Repeat(")", n) + " in y %}{% endfor %}",
		"elif":        "{% if 0 %}" + strings.Repeat("{% elif 0 %}", n) + "{% endif %}",
	} {
		if _, err := render(source, jinja.NewDict(), jinja.Limits{}); err == nil && name != "elif" {
			t.Errorf("%s: got no error", name)
		} else if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: the message has %d bytes", name, len(err.Error()))
		}
	}
	if _, err := jinja.Parse("big", strings.Repeat("x", jinja.MaxSource+1)); err == nil {
		t.Error("a source beyond MaxSource was accepted")
	}
}

// TestRefused lists what a template cannot do, with the message.
func TestRefused(t *testing.T) {
	for source, want := range map[string]string{
		"{% include '/etc/passwd' %}": `the tag "include" is not allowed in a chat template: it would read ` +
			`another file`,
		"\n{% import 'x' as y %}":           `chat template test, line 2: the tag "import" is not allowed`,
		"{% extends 'x' %}":                 `the tag "extends" is not allowed`,
		"{{ ''.__class__.__mro__ }}":        `'str object' has no attribute '__class__'`,
		"{{ x|attr('__class__')|attr(1) }}": "is undefined",
		"a\n{{ 1 + 'a' }}":                  `chat template test, line 2: "+" cannot be applied to int and str`,
		"{{ raise_exception('no') }}":       "chat template test refused the conversation: no",
		"{% frobnicate %}":                  `the tag "frobnicate" is unknown; known:`,
		"{{ 1|frobnicate }}":                `the filter "frobnicate" is unknown; known: abs,`,
		"{{ 1 is frobnicated }}":            `the test "frobnicated" is unknown; known: boolean,`,
		"{% break %}":                       "break stands outside a loop",
		"{{ strftime_now('%Q') }}":          "strftime_now does not know the format %Q",
	} {
		if got, err := render(source, jinja.NewDict(), jinja.Limits{}); err == nil {
			t.Errorf("%s: got %q, want an error", source, got)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", source, err, want)
		}
	}
}

// TestOrigins follows marked text through every kind of operation: each byte keeps its origin, and template text has
// none.
func TestOrigins(t *testing.T) {
	vars := jinja.NewDict()
	vars.Set("a", jinja.Marked("  Größe, <b>  ", 1))
	vars.Set("b", jinja.Marked("b,b", 2))
	d := jinja.NewDict()
	d.SetMarked(jinja.Marked("kß", 3), jinja.Marked("v\n\"", 3))
	vars.Set("d", d)
	for source, want := range map[string]string{
		"[{{ a }}]":                       "[{1:  Größe, <b>  }]",
		"{{ a.strip() }}|{{ a|trim }}":    "{1:Größe, <b>}|{1:Größe, <b>}",
		"{{ a.strip() + '-' + b }}":       "{1:Größe, <b>}-{2:b,b}",
		"{{ b.split(',') }}":              "['{2:b}', '{2:b}']",
		"{{ b.replace(',', a.strip()) }}": "{2:b}{1:Größe, <b>}{2:b}",
		"{{ a.strip()[::-1] }}":           "{1:>b< ,eßörG}",
		"{{ a.strip()|upper }}":           "{1:GRÖSSE, <B>}",
		"{{ d|tojson }}":                  `{"{3:kß}": "{3:v\n\"}"}`,
		"{{ d }}":                         `{'{3:kß}': '{3:v\n"}'}`,
		"{% for k, v in d|items %}{{ k }}={{ v }}{% endfor %}":         "{3:kß}={3:v\n\"}",
		"{% set x %}<{{ b }}>{% endset %}{{ x }}":                      "<{2:b,b}>",
		"{% macro f(x) %}({{ x }}){% endmacro %}{{ f(b) ~ f('b,b') }}": "({2:b,b})(b,b)",
		"{{ [b, 'x', a.strip()]|join('+') }}":                          "{2:b,b}+x+{1:Größe, <b>}",
		"{{ '%s!' % b }} {{ a.strip()|e }} {{ b|indent(2, true) }}": "{2:b,b}! {1:Größe, &lt;b&gt;}   " +
			"{2:b,b}",
		"{{ b.partition(',')[2] }}{{ b|first }}{{ b|replace('b', 'c') }}":     "{2:bb}c{2:,}c",
		"{% if b == 'b,b' and b in ['b,b'] and b is eq 'b,b' %}y{% endif %}":  "y",
		"{{ a.split()[0] ~ b.splitlines()[0] ~ (a|list)[2] ~ b.title() }}":    "{1:Größe,}{2:b,b}{1:G}{2:B,B}",
		"{{ {b: 1}.keys()|list|join }}{{ {b: 1}['b,b'] }}{{ ('x' ~ b)[:2] }}": "{2:b,b}1x{2:b}",
	} {
		tmpl, err := jinja.Parse("test", source)
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := tmpl.Render(vars, now, jinja.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, p := range pieces {
			if p.Text == "" {
				t.Errorf("%s: an empty piece", source)
			}
			if p.Origin == 0 {
				got.WriteString(p.Text)
			} else {
				got.WriteString("{" + string(rune('0'+p.Origin)) + ":" + p.Text + "}")
			}
		}
		if got.String() != want {
			t.Errorf("%s\ngot  %s\nwant %s", source, &got, want)
		}
	}
}
