// Package bench measures what starting a container costs, side by side: every
// program on the same bundle, each as a whole process from fork to wait, in
// rounds that take the programs in turn, so that what else the machine does
// hits all of them.
package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Kind is how a program is called.
type Kind string

const (
	OCI     Kind = "oci"     // run --bundle DIR ID, create, start, exec, delete
	Command Kind = "command" // run CMD, as the steps do
	Bwrap   Kind = "bwrap"   // bubblewrap
	Unshare Kind = "unshare" // unshare of util-linux
)

// A Peer is a program to measure.
type Peer struct {
	Name  string // the column
	Path  string // in the sandbox
	Kinds []Kind
}

// A Sample is one measurement.
type Sample struct {
	Scenario, Peer string
	Value          float64 // in the scenario's unit
	Failed         string  `json:",omitempty"` // why there is no value
}

// A scenario is a row of the table.
type scenario struct {
	name  string
	unit  string // "ms" or "MiB"
	kinds []Kind
	share int // one round in so many measures it
}

// scenarios are measured in this order.
var scenarios = []scenario{
	{"start", "ms", []Kind{OCI, Bwrap, Unshare}, 1},
	{"create+start+delete", "ms", []Kind{OCI}, 1},
	{"exec", "ms", []Kind{OCI}, 1},
	{"run CMD, own network", "ms", []Kind{Command}, 1},
	{"peak memory", "MiB", []Kind{OCI, Bwrap, Unshare}, 5},
	{"100 starts in a row", "ms", []Kind{OCI, Bwrap, Unshare}, 10},
	{"50 at once", "ms", []Kind{OCI, Bwrap, Unshare}, 5},
}

// A bar is a promise of the design's section 7.
type bar struct {
	scenario, than string
	ratio          float64 // at most
}

// bars are what ours must keep, by ratios of one run.
var bars = []bar{
	{"start", "crun", 0.85},
	{"start", "runc", 0.3},
	{"peak memory", "runc", 1},
}

// commandBar is what run CMD of step 07 may take, in milliseconds.
const commandBar = 15

// Ours is the column that is compared with the others.
const Ours = "ours"

// Report writes the medians as a table with a row for each scenario, then our
// ratios to the others, and whether the bars are kept.
func Report(w io.Writer, peers []Peer, samples []Sample) {
	medians, failed := collect(samples)
	fmt.Fprintf(w, "%-22s", "median")
	for _, p := range peers {
		fmt.Fprintf(w, "%12s", p.Name)
	}
	fmt.Fprintln(w)
	for _, s := range scenarios {
		fmt.Fprintf(w, "%-22s", s.name)
		for _, p := range peers {
			cell := "-"
			if v, ok := medians[key{s.name, p.Name}]; ok {
				cell = fmt.Sprintf("%.1f %s", v, s.unit)
			}
			fmt.Fprintf(w, "%12s", cell)
		}
		fmt.Fprintln(w)
	}
	for _, line := range failed {
		fmt.Fprintln(w, line)
	}
	ratios(w, peers, medians)
	for _, b := range bars {
		mine, ok1 := medians[key{b.scenario, Ours}]
		theirs, ok2 := medians[key{b.scenario, b.than}]
		if ok1 && ok2 {
			fmt.Fprintf(w, "bar: %s at most %.2f of %s: %s (%.2f)\n", b.scenario, b.ratio, b.than, kept(mine <= b.ratio*theirs), mine/theirs)
		}
	}
	if v, ok := medians[key{"run CMD, own network", Ours}]; ok {
		fmt.Fprintf(w, "bar: run CMD at most %d ms: %s (%.1f ms)\n", commandBar, kept(v <= commandBar), v)
	}
}

// kept says whether a bar is.
func kept(yes bool) string {
	if yes {
		return "kept"
	}
	return "missed"
}

// ratios writes how ours compares with each other column.
func ratios(w io.Writer, peers []Peer, medians map[key]float64) {
	for _, s := range scenarios {
		mine, ok := medians[key{s.name, Ours}]
		if !ok {
			continue
		}
		var cells []string
		for _, p := range peers {
			if v, ok := medians[key{s.name, p.Name}]; ok && p.Name != Ours && v > 0 {
				cells = append(cells, fmt.Sprintf("%.2f of %s", mine/v, p.Name))
			}
		}
		if len(cells) > 0 {
			fmt.Fprintf(w, "ratio: %s: %s\n", s.name, strings.Join(cells, ", "))
		}
	}
}

// A key is a cell of the table.
type key struct{ scenario, peer string }

// collect turns samples into medians. A cell with a failure has no median:
// failing fast is no speed; it gets a line with the first reason instead.
func collect(samples []Sample) (medians map[key]float64, failed []string) {
	values, failures := map[key][]float64{}, map[key][]string{}
	var order []key
	for _, s := range samples {
		k := key{s.Scenario, s.Peer}
		if s.Failed == "" {
			values[k] = append(values[k], s.Value)
			continue
		}
		if failures[k] == nil {
			order = append(order, k)
		}
		failures[k] = append(failures[k], s.Failed)
	}
	for _, k := range order {
		failed = append(failed, fmt.Sprintf("failed: %s: %s, %d of %d: %s", k.peer, k.scenario,
			len(failures[k]), len(failures[k])+len(values[k]), failures[k][0]))
	}
	medians = map[key]float64{}
	for k, v := range values {
		if failures[k] == nil {
			medians[k] = median(v)
		}
	}
	return medians, failed
}

// median is the middle value, or the mean of the two in the middle.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
