//go:build linux

package checks

import (
	"slices"
	"strings"
)

// Steps are the programs, by number; the last one is the newest.
var Steps = []string{"00-none", "01-uts", "02-pid", "03-mount", "04-cgroup", "05-user", "06-net", "07-final"}

// ofSteps are the facts that each step is about.
var ofSteps = [][]Fact{nil, step01, step02, step03, step04, step05, step06, step07}

// Facts are all there are, in the order in which a learner meets them: first
// what the steps add, then the contract.
func Facts() []Fact {
	return slices.Concat(slices.Concat(ofSteps...), mounts, contract, refused, signals, terminals)
}

// FactsAt are the facts that hold at step n.
func FactsAt(n int) []Fact {
	return slices.DeleteFunc(Facts(), func(f Fact) bool { return !f.HoldsAt(n) })
}

// Adds tells whether the fact is one that step n makes true.
func (f Fact) Adds(n int) bool { return f.HoldsAt(n) && !f.HoldsAt(n-1) }

// At is the fact as step n is told of it: the place in our program is the first
// that a step up to n has, in the newest of those which have the same function in
// the same file.
func (f Fact) At(n int) Fact {
	places := slices.DeleteFunc(slices.Clone(f.Ours), func(place string) bool {
		step, _, _ := strings.Cut(place, "/")
		return slices.Index(Steps, step) > n
	})
	if len(places) == 0 {
		return f
	}
	_, first, _ := strings.Cut(places[0], "/")
	newest := places[0]
	for _, place := range places {
		step, name, _ := strings.Cut(place, "/")
		if name == first && step > newest[:len(step)] {
			newest = place
		}
	}
	f.Ours = slices.Concat([]string{newest}, f.Ours)
	return f
}

// ForLearner puts facts in the order in which whoever writes step n meets them:
// the one that failed last, then those that the step makes true, what it is about
// before what it makes true besides, then the rest.
func ForLearner(facts []Fact, n int, failedLast string) []Fact {
	rank := func(f Fact) int {
		switch {
		case f.Claim == failedLast:
			return 0
		case !f.Adds(n):
			return 3
		case slices.ContainsFunc(ofSteps[n], func(own Fact) bool { return own.Claim == f.Claim }):
			return 1
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(facts), func(a, b Fact) int { return rank(a) - rank(b) })
}

// ablations are the programs that are step 07 without something.
func ablations() (names []string) {
	for _, f := range Facts() {
		for _, name := range f.Broken {
			if strings.HasPrefix(name, "without-") {
				names = append(names, "broken-"+name)
			}
		}
		for _, protections := range f.Despite {
			names = append(names, "broken-without-"+protections)
		}
	}
	return names
}
