package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The files here are for machines that we do not have: that they are what their
// readers take is all that can be tested.

// readYAML reads a file strictly: what no field is there for is an error.
func readYAML(t *testing.T, name string, into any) string {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	d.KnownFields(true)
	require.NoError(t, d.Decode(into), name)
	return string(data)
}

// isScript has a shell read a script, without running it.
func isScript(t *testing.T, text string) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		return // Windows
	}
	cmd := exec.Command(sh, "-n")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// needed are the packages without which a place is none.
var needed = []string{"git", "make", "golang-go", "qemu-system-arm", "qemu-system-x86", "tmux", "xz-utils"}

func TestTheLimaTemplate(t *testing.T) {
	var lima struct {
		Images []struct{ Location, Arch string }
		CPUs   int `yaml:"cpus"`
		Memory string
		Disk   string
		Mounts []struct {
			Location string
			Writable *bool
		}
		Containerd map[string]bool
		Provision  []struct{ Mode, Script string }
	}
	readYAML(t, "places/lima.yaml", &lima)
	arches := map[string]bool{}
	for _, image := range lima.Images {
		arches[image.Arch] = true
		suffix := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[image.Arch]
		require.NotEmpty(t, suffix, image.Arch)
		require.True(t, strings.HasPrefix(image.Location, "https://") && strings.HasSuffix(image.Location, "debian-13-genericcloud-"+suffix+".qcow2"), image.Location)
	}
	require.Len(t, arches, 2)
	require.False(t, *lima.Mounts[0].Writable)
	require.Equal(t, "system", lima.Provision[0].Mode)
	isScript(t, lima.Provision[0].Script)
	for _, pkg := range needed {
		require.Contains(t, lima.Provision[0].Script, pkg)
	}
	require.Contains(t, lima.Provision[0].Script, "echo lima >/etc/containers-from-scratch", "the doctor's mark")
}

func TestTheCloudInitFile(t *testing.T) {
	var class struct {
		Update     bool `yaml:"package_update"`
		Packages   []string
		WriteFiles []struct{ Path, Content string } `yaml:"write_files"`
		RunCmd     [][]string                       `yaml:"runcmd"`
	}
	text := readYAML(t, "places/cloud-init.yaml", &class)
	require.True(t, strings.HasPrefix(text, "#cloud-config\n"), "else it is taken for a script")
	require.True(t, class.Update)
	require.Subset(t, class.Packages, needed)
	require.Equal(t, "/etc/containers-from-scratch", class.WriteFiles[0].Path, "the doctor's mark")
	require.Equal(t, "class\n", class.WriteFiles[0].Content)
}

func TestTheDevContainer(t *testing.T) {
	var container struct {
		Image      string            `json:"image"`
		Args       []string          `json:"runArgs"`
		Env        map[string]string `json:"containerEnv"`
		PostStart  string            `json:"postStartCommand"`
		OnCreate   string            `json:"onCreateCommand"`
		Mounts     []string          `json:"mounts"`
		RemoteUser string            `json:"remoteUser"`
	}
	readSettings(t, "../.devcontainer/devcontainer.json", &container)
	require.Subset(t, container.Args, []string{"--privileged", "--cgroupns=private"})
	require.Equal(t, "devcontainer", container.Env["CFS_PLACE"], "the doctor's mark")
	require.Equal(t, "root", container.RemoteUser)
	require.Contains(t, container.PostStart, "sh .devcontainer/nest")
	isScript(t, container.PostStart)
	isScript(t, container.OnCreate)
	for _, pkg := range needed {
		require.True(t, pkg == "git" || pkg == "golang-go" || strings.Contains(container.OnCreate, pkg), "%s, which the image of Go has not", pkg)
	}
	nest, err := os.ReadFile("../.devcontainer/nest")
	require.NoError(t, err)
	isScript(t, string(nest))
}
