package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/watch"
)

// A drawn run is one of several on a page.
type drawn struct {
	watch.Entry
	Loss [][2]float64 `json:"loss"` // the running mean, by step
	Held [][2]float64 `json:"held"` // measured on held-out rows
}

// NewRuns makes a server of a page that lays the losses of runs over each other, with a key of its own.
func NewRuns(command string, dirs []string) *Server {
	var mu sync.Mutex
	lister := watch.NewLister(dirs)
	s := sheet{html: "runs.html", Title: "ggtune runs", Styles: []string{"page.css", coloursFile},
		Scripts: []string{"chart.js", "runs.js"}}
	return newServer(command, s, func(v *Server, mux *http.ServeMux) {
		mux.HandleFunc("GET /"+coloursFile, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kinds[".css"])
			fmt.Fprint(w, colours())
		})
		mux.HandleFunc("GET /data", func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			var all []drawn
			for _, e := range lister.Look() {
				loss, held := e.Curve().Points()
				all = append(all, drawn{e, loss, held})
			}
			b, err := json.Marshal(all)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Write(b)
		})
	})
}

// coloursFile is the style sheet that is no file: it is written from what is drawn elsewhere too.
const coloursFile = "colours.css"

// colours is the style sheet of runs' colours: those of report's plots.
func colours() string {
	var light, dark strings.Builder
	for i, c := range report.Colours() {
		fmt.Fprintf(&light, "  --run%d: %s;\n", i, c.Light)
		fmt.Fprintf(&dark, "  --run%d: %s;\n", i, c.Dark)
	}
	var b strings.Builder
	fmt.Fprintf(&b, ":root {\n%s}\n@media (prefers-color-scheme: dark) {\n:root {\n%s}\n}\n",
		light.String(), dark.String())
	for i := range report.Colours() {
		fmt.Fprintf(&b, "svg path.run%d { stroke: var(--run%d); }\n"+
			"svg circle.run%[1]d { fill: var(--run%[1]d); }\n"+
			".swatch.run%[1]d, .legend .run%[1]d::before { background: var(--run%[1]d); }\n", i, i)
	}
	return b.String()
}
