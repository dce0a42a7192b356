package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"containers-from-scratch/harness/internal/golden"
)

// TestReport compares a report of made-up samples with a golden file: a median
// of an even and of an odd number, a failure that hides what else was measured,
// a bar that is kept and one that is missed.
func TestReport(t *testing.T) {
	peers := []Peer{{Name: Ours}, {Name: "runc"}, {Name: "crun"}, {Name: "bwrap"}, {Name: "06-net"}}
	var samples []Sample
	add := func(scenario, peer string, values ...float64) {
		for _, v := range values {
			samples = append(samples, Sample{Scenario: scenario, Peer: peer, Value: v})
		}
	}
	add("start", Ours, 5, 90, 4)
	add("start", "runc", 20, 30)
	add("start", "crun", 5.5)
	add("start", "bwrap", 3)
	add("exec", Ours, 2)
	add("exec", "runc", 8)
	add("exec", "crun", 4)
	samples = append(samples, Sample{Scenario: "exec", Peer: "crun", Failed: "exit status 1: no such container"})
	add("peak memory", Ours, 7.5)
	add("peak memory", "runc", 15)
	add("run CMD, own network", Ours, 15.1)
	add("run CMD, own network", "06-net", 10)

	var got bytes.Buffer
	Report(&got, peers, samples)
	golden.Compare(t, "testdata/report.golden", got.String())
}

func TestReportOfNothing(t *testing.T) {
	var got bytes.Buffer
	Report(&got, nil, nil)
	require.NotContains(t, got.String(), "bar:")
}

// TestConfig reads config.json as a runtime does; exec replaces what it runs.
func TestConfig(t *testing.T) {
	text, err := os.ReadFile("config.json")
	require.NoError(t, err)
	var s specs.Spec
	require.NoError(t, json.Unmarshal(text, &s))
	require.Equal(t, []string{"/bin/true"}, s.Process.Args)
	require.False(t, s.Process.Terminal)
	require.Equal(t, 1, bytes.Count(text, []byte(`"/bin/true"`)))
}
