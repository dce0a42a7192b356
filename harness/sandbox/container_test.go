//go:build linux

package sandbox

import (
	"bufio"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func TestEveryVariantCallsItsEngineLikeThis(t *testing.T) {
	const common = " run -i --rm --name NAME --network none --cgroupns private" +
		" --log-driver none --pull never -v /h:/.harness:ro "
	const end = " IMAGE /.harness guest-container"
	want := map[string]string{
		"docker --privileged": "docker" + common + "--privileged" + end,
		"docker with listed capabilities": "docker" + common +
			"--cap-add=ALL --cap-drop=SYS_RESOURCE --security-opt seccomp=unconfined" +
			" --security-opt apparmor=unconfined --security-opt label=disable" + end,
		"podman --privileged": "podman" + common + "--privileged" + end,
		"podman with runc": "podman --runtime runc" + common +
			"--privileged --ulimit nproc=4096:4096 --ulimit nofile=4096:4096" + end,
	}
	got := map[string]string{}
	for _, v := range variants {
		got[v.name] = v.engine + " " + strings.Join(v.runArgs("NAME", "/h", "IMAGE"), " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestAJobHasStdinAndATerminalOnlyWhenAsked(t *testing.T) {
	v := variants[0]
	for _, test := range []struct {
		stdin, tty bool
		want       string
	}{
		{false, false, "exec NAME /.harness guest-container job {}"},
		{true, false, "exec -i NAME /.harness guest-container job {}"},
		{true, true, "exec -i -t NAME /.harness guest-container job {}"},
	} {
		require.Equal(t, test.want, strings.Join(v.execArgs("NAME", "{}", test.stdin, test.tty), " "))
	}
}

func TestAFailureNamesWhatMendsIt(t *testing.T) {
	noDaemon := engineFailure{"docker", errors.New("Cannot connect to the Docker daemon"), false}
	noRight := engineFailure{"docker", errors.New("dial unix: permission denied"), false}
	noDocker := engineFailure{"docker", errNotInstalled, false}
	noPodman := engineFailure{"podman", errNotInstalled, false}
	refused := engineFailure{"podman with runc", errors.New("mount an overlay over /: EINVAL"), true}
	for _, test := range []struct {
		failures engineFailures
		want     string
	}{
		{engineFailures{noDocker, noPodman}, "INSTALL"},
		{engineFailures{noDaemon, noPodman}, "sudo systemctl start docker, or INSTALL"},
		{engineFailures{noRight, noPodman}, "sudo usermod -aG docker $USER, then log in again"},
		{engineFailures{noDocker, refused}, "make test SANDBOX=vm"},
		{engineFailures{noDaemon, refused}, "sudo systemctl start docker, or INSTALL"},
	} {
		require.Equal(t, test.want, test.failures.fix("INSTALL"), test.failures.String())
	}
	require.Equal(t, "docker: not installed; podman: not installed", engineFailures{noDocker, noPodman}.String())
}

func TestPodmanIsInstalledWithWhatThisSystemHas(t *testing.T) {
	only := func(name string) func(string) (string, error) {
		return func(asked string) (string, error) {
			if asked == name {
				return "/usr/bin/" + name, nil
			}
			return "", exec.ErrNotFound
		}
	}
	require.Equal(t, "sudo apt-get install podman runc", installPodman(only("apt-get")))
	require.Equal(t, "sudo dnf install podman", installPodman(only("dnf")))
	require.Equal(t, "install podman", installPodman(only("nothing")))
}

func TestAContainerCannotBeAnotherMachine(t *testing.T) {
	require.Equal(t, Finding{}, onlyInVM(Spec{Arch: runtime.GOARCH}))
	require.Equal(t, Finding{
		Reason: "has this machine's cgroups", Fix: "make test SANDBOX=vm CGROUP=v1",
	}, onlyInVM(Spec{Cgroup: "v1"}))
}

func TestAReportIsTheProgramsStatusOrTheMachinesReason(t *testing.T) {
	m := &containerMachine{out: bufio.NewReader(strings.NewReader(
		`{"Ran":true,"Status":125}` + "\n" + `{"Err":"no room"}` + "\nruntime error"))}

	r, err := m.report()
	require.NoError(t, err)
	require.Equal(t, guestReport{Ran: true, Status: 125}, r)

	_, err = m.report()
	require.EqualError(t, err, "no room")

	_, err = m.report()
	require.EqualError(t, err, "the container ended: EOF")
}

func TestAnEnginesLastLineIsTheReason(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", `echo trace >&2; echo "Error: no such image" >&2; echo >&2; exit 125`)
	_, err := output(cmd)
	require.EqualError(t, err, "no such image")

	_, err = output(exec.Command("/bin/sh", "-c", "exit 3"))
	require.EqualError(t, err, "exit status 3")
}

func TestTheVariantIsRememberedUntilTheNextBoot(t *testing.T) {
	if bootID() == "" {
		t.Skip("this system has no boot id")
	}
	t.Setenv("CFS_CACHE", t.TempDir())
	_, ok := rememberedVariant()
	require.False(t, ok)

	rememberVariant(variants[3])
	v, ok := rememberedVariant()
	require.True(t, ok)
	require.Equal(t, variants[3].name, v.name)
}
