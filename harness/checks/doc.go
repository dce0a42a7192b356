// Package checks holds the facts about a container and the means to see
// whether they are true of a program: run it, look from inside, look at the
// host, compare. It knows nothing of a program but its contract:
//
//	PROGRAM run CMD [ARG...]
//
// The facts are tried in a sandbox (package sandbox), whose machine plays the
// host; the test binary refuses to run elsewhere.
package checks
