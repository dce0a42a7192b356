package mutants

// A Job is what a sandbox is told of one mutant.
type Job struct {
	ID      int
	Program string // its path there
	Step    int
	// Places are what facts point at, Mutant.Place: here, and where the same
	// statement first appears. Nil is the step's own program, of which all facts
	// must hold.
	Places []string
	Hangs  bool     // it may: a long patience is for what is expected to survive
	User   int      // who runs the program; 0 is root
	Except []string // claims that do not hold of the step's own program there
}

// How a mutant ended.
const (
	Noticed  = "noticed"               // a fact that points at its place failed
	Survived = "survived"              // none did
	Down     = "took the machine down" // neither: the facts could not be tried to their end, in two machines
)

// A Result is what became of a Job.
type Result struct {
	ID      int
	How     string
	Fact    string // the claim that failed, or that could not be tried
	Saw     string // how it failed, in one line
	Facts   int    // how many were tried
	Seconds float64
	False   []string // of the step's own program, run by an ordinary user: what does not hold
}
