package sandbox

import (
	"fmt"
	"strings"
)

// Choose picks the place that SANDBOX= names, or, for "auto" and "", the first
// usable one. The finding says why it is usable. A named place that is not
// usable is an error and never replaced by another: the tests of a place nobody
// asked for would be believed.
func Choose(name string, spec Spec) (Place, Finding, error) {
	return choose(name, spec, Places())
}

// choose is Choose among any places.
func choose(name string, spec Spec, places []Place) (Place, Finding, error) {
	if name == "" || name == "auto" {
		return first(spec, places)
	}
	names := []string{"auto"}
	for _, p := range places {
		if p.Name() != name {
			names = append(names, p.Name())
			continue
		}
		f := p.Check(spec)
		if !f.OK {
			return nil, f, fmt.Errorf("SANDBOX=%s cannot be used: %s", name, reasonAndFix(f))
		}
		return p, f, nil
	}
	return nil, Finding{}, fmt.Errorf("SANDBOX=%s is not known; it is one of %s", name, strings.Join(names, ", "))
}

// first checks one place after the other, and no more than it must: a check may
// take seconds.
func first(spec Spec, places []Place) (Place, Finding, error) {
	var table strings.Builder
	for _, p := range places {
		f := p.Check(spec)
		if f.OK {
			return p, f, nil
		}
		fmt.Fprintf(&table, "\n  %-9s  %s", p.Name(), reasonAndFix(f))
	}
	return nil, Finding{}, fmt.Errorf("no place to run the tests in%s", table.String())
}

// reasonAndFix is a finding in one line: `needs root → sudo -v && …`.
func reasonAndFix(f Finding) string {
	if f.Fix == "" {
		return f.Reason
	}
	return f.Reason + " → " + f.Fix
}
