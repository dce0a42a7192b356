package sandbox

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test binary is the process 1 of its own boxes.
func init() {
	if os.Getpid() == 1 && len(os.Args) > 1 && os.Args[1] == "guest-box" {
		GuestBox(os.Args[2:])
	}
}

// aBox returns a machine of the user sandbox, or skips where there is none.
func aBox(t *testing.T) Machine {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p, f, err := choose("user", Spec{Self: self}, []Place{user{}})
	if err != nil {
		t.Skip(reasonAndFix(f))
	}
	m, err := p.Start(Spec{Self: self})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// sh runs a script in m.
func sh(t *testing.T, m Machine, job Job, script string) (status int, out string, err error) {
	t.Helper()
	var b bytes.Buffer
	job.Args, job.Stdout, job.Stderr = []string{"/bin/sh", "-c", script}, &b, &b
	job.Env = append(job.Env, "PATH=/bin")
	status, err = m.Run(job)
	return status, b.String(), err
}

func TestABoxIsAMachineOfItsOwn(t *testing.T) {
	m := aBox(t)
	host, err := os.Hostname()
	require.NoError(t, err)

	status, out, err := sh(t, m, Job{Dir: "/work/here", Env: []string{"A=b"}},
		`hostname; pwd; echo $A $HOME; test $PPID = 1 && hostname mine && exit 7`)
	require.NoError(t, err)
	require.Equal(t, "sandbox\n/work/here\nb\n", out)
	require.Equal(t, 7, status)

	after, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, host, after)
}

func TestASignalsNumberIsInTheStatus(t *testing.T) {
	status, _, err := sh(t, aBox(t), Job{}, "kill -9 $$")
	require.NoError(t, err)
	require.Equal(t, 137, status)
}

func TestFilesGoInAndOutComesBack(t *testing.T) {
	src, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(src, "file"), []byte("hello"), 0o644))
	status, text, err := sh(t, aBox(t), Job{Files: map[string]string{"/in/dir": src}, Out: out},
		"mkdir /out/d && cat /in/dir/file >/out/d/copy")
	require.NoError(t, err)
	require.Zero(t, status, text)
	b, err := os.ReadFile(filepath.Join(out, "d/copy"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
}

func TestATimeoutEndsTheBoxAndSaysSo(t *testing.T) {
	start := time.Now()
	_, _, err := sh(t, aBox(t), Job{Timeout: time.Second}, "sleep 60 & sleep 60")
	require.ErrorContains(t, err, "killed after 1s")
	require.Less(t, time.Since(start), 10*time.Second)
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	_, err := aBox(t).Run(Job{Args: []string{"/nope"}})
	require.EqualError(t, err, "run /nope in the box: fork/exec /nope: no such file or directory")
}

func TestABoxEndsWithItsLauncher(t *testing.T) {
	if os.Getenv("LAUNCH") != "" {
		_, err := aBox(t).Run(Job{Args: []string{"/bin/sh", "-c", "echo up; sleep 60"}, Stdout: os.Stdout})
		require.NoError(t, err)
		return
	}
	aBox(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	launcher := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	launcher.Env = append(os.Environ(), "LAUNCH=1")
	launcher.Stdout = w
	require.NoError(t, launcher.Start())
	w.Close()
	up := make([]byte, 3)
	_, err = r.Read(up)
	require.NoError(t, err)
	require.Equal(t, "up\n", string(up))

	require.NoError(t, launcher.Process.Kill())
	_ = launcher.Wait()
	// The job holds the other end: end-of-file says that it is gone.
	require.NoError(t, r.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = r.Read(up)
	require.ErrorContains(t, err, "EOF")
}
