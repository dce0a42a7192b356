package probe

import "encoding/json"

// A Measurement is what several programs make of the same command, on one
// machine: the columns of the map of isolation.
type Measurement struct {
	Sandbox string // "vm", as in SANDBOX=
	Kernel  string // "6.1.0-56-cloud-amd64"
	Columns []Column
	Left    []Omission `json:",omitempty"`
}

// A Column is one program, seen from inside and from the host. The column
// called "host" is the machine without any.
type Column struct {
	Name    string
	Series  bool // a step of the course: it is compared with the column before it
	Inside  Report
	Outside Outside
	// Base is the host of this column, where that is not the first column's:
	// an engine runs on the machine itself, not in the throwaway one.
	Base *Column `json:",omitempty"`
}

// An Omission is a column that there is not, and why.
type Omission struct{ Name, Reason string }

// Outside is what the host sees of a command that runs.
type Outside struct {
	PID        int               // its number on the host
	UID        int               // its user there
	Namespaces map[string]string // as in Report
	Limits     Limits
	// Reads tells whether the command finds a file that the host made in /,
	// Writes whether a file that the command made in / is there on the host.
	Reads, Writes bool
}

// Limits are those of the cgroups that a process is in, the tightest of each
// kind; 0 is none.
type Limits struct {
	Memory int64   `json:",omitempty"` // bytes
	Pids   int64   `json:",omitempty"`
	CPUs   float64 `json:",omitempty"` // 0.5 is half of one
}

// A Stay is what `probe stay` says before it waits: a report of what it sees,
// and whether it could make its file in /.
type Stay struct {
	Report
	Wrote bool
}

// HostMark and InsideMark name the files that a measurement makes in /, one by
// the host and one by the command; token tells measurements apart.
func HostMark(token string) string   { return "map-host-" + token }
func InsideMark(token string) string { return "map-inside-" + token }

// Decode reads a measurement from JSON.
func Decode(data []byte) (m Measurement, err error) {
	err = json.Unmarshal(data, &m)
	return m, err
}
