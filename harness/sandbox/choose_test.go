package sandbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A fakePlace finds what it is told to, and counts how often it is asked.
type fakePlace struct {
	name    string
	finding Finding
	asked   *int
}

func (p fakePlace) Name() string                { return p.name }
func (p fakePlace) Start(Spec) (Machine, error) { return nil, nil }
func (p fakePlace) Check(Spec) Finding {
	if p.asked != nil {
		*p.asked++
	}
	return p.finding
}

func TestAutoTakesTheFirstUsablePlaceAndAsksNoFurther(t *testing.T) {
	asked := 0
	places := []Place{
		fakePlace{name: "vm", finding: Finding{Reason: "no qemu", Fix: "apt-get install qemu-system-x86"}},
		fakePlace{name: "host", finding: Finding{OK: true, Reason: "as root"}},
		fakePlace{name: "user", finding: Finding{OK: true}, asked: &asked},
	}
	for _, name := range []string{"", "auto"} {
		p, f, err := choose(name, Spec{}, places)
		require.NoError(t, err)
		require.Equal(t, "host", p.Name())
		require.Equal(t, "as root", f.Reason)
		require.Zero(t, asked)
	}
}

func TestANamedPlaceIsNeverReplaced(t *testing.T) {
	places := []Place{
		fakePlace{name: "vm", finding: Finding{OK: true}},
		fakePlace{name: "host", finding: Finding{Reason: "needs root", Fix: "sudo -v && make test SANDBOX=host"}},
	}
	p, f, err := choose("host", Spec{}, places)
	require.Nil(t, p)
	require.Equal(t, "needs root", f.Reason)
	require.EqualError(t, err, "SANDBOX=host cannot be used: needs root → sudo -v && make test SANDBOX=host")
}

func TestWhenNoPlaceIsUsableTheErrorIsATable(t *testing.T) {
	_, _, err := choose("auto", Spec{}, []Place{
		fakePlace{name: "vm", finding: Finding{Reason: "no qemu", Fix: "apt-get install qemu-system-x86"}},
		fakePlace{name: "container", finding: Finding{Reason: "no engine"}},
	})
	require.EqualError(t, err, `no place to run the tests in
  vm         no qemu → apt-get install qemu-system-x86
  container  no engine`)
}

func TestAnUnknownPlaceNamesTheKnown(t *testing.T) {
	_, _, err := choose("docker", Spec{}, []Place{fakePlace{name: "vm"}, fakePlace{name: "user"}})
	require.EqualError(t, err, "SANDBOX=docker is not known; it is one of auto, vm, user")
}
