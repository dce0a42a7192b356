//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestMountOptionsAreSorted(t *testing.T) {
	const atime = unix.MOUNT_ATTR__ATIME
	for options, want := range map[string]mountOptions{
		"":                         {},
		"defaults silent loud acl": {},
		"ro":                       {own: attributes{set: 1, clear: 1}},
		"ro rw":                    {own: attributes{clear: 1}},
		"rro":                      {all: attributes{set: 1, clear: 1}},
		"rrw":                      {all: attributes{clear: 1}},
		"noatime":                  {own: attributes{set: unix.MOUNT_ATTR_NOATIME, clear: atime}},
		"noatime strictatime":      {own: attributes{set: unix.MOUNT_ATTR_STRICTATIME, clear: atime}},
		"noatime relatime":         {own: attributes{clear: atime}},
		"rrelatime":                {all: attributes{clear: atime}},
		"rbind rslave":             {bind: true, recursive: true, propagation: []uint64{unix.MS_REC | unix.MS_SLAVE}},
		"rbind bind":               {bind: true},
		"unbindable runbindable":   {propagation: []uint64{unix.MS_UNBINDABLE, unix.MS_REC | unix.MS_UNBINDABLE}},
		"remount tmpcopyup":        {remount: true, copyUp: true},
		"sync mand":                {data: []string{"sync", "mand"}},
		"mode=755,size=1k discard": {data: []string{"mode=755", "size=1k", "discard"}},
		`context="a:b:c1,c2"`:      {data: []string{"context=a:b:c1,c2"}},
		`lowerdir=/a\,b`:           {data: []string{`lowerdir=/a\,b`}},
		"rsync ridmapped o ratio":  {data: []string{"rsync", "ridmapped", "o", "ratio"}},
	} {
		o, err := parseMountOptions(strings.Split(options, " "))
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, o, cmp.AllowUnexported(mountOptions{}, attributes{})), options)
	}
}

// TestEveryOptionOfTheSpecIsKnown has the table of config.md: what is not known
// would reach the filesystem.
func TestEveryOptionOfTheSpecIsKnown(t *testing.T) {
	for option := range strings.FieldsSeq(`async atime bind defaults dev diratime dirsync exec iversion lazytime loud
		mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow
		private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnodev rnoexec rnorelatime
		rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow
		runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable`) {
		o, err := parseMountOptions([]string{option})
		require.NoError(t, err)
		if !slices.Contains(strings.Fields("async dirsync lazytime mand nolazytime nomand sync"), option) { // which fsconfig(2) knows
			require.Empty(t, o.data, option)
		}
	}
}

func FuzzMountOptions(f *testing.F) {
	for _, seed := range []string{"ro", "rbind rprivate ro", "rro norelatime", "size=64k,mode=755", `context="a,b"`, "ridmap", "rr", "r", "no", "\x00", `lowerdir=a\,b:c`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, options string) {
		list := strings.Split(options, " ")
		o, err := parseMountOptions(list)
		if err != nil {
			require.Contains(t, options, "idmap")
			return
		}
		for _, a := range []attributes{o.own, o.all} {
			require.Zero(t, a.set&^a.clear, "mount_setattr(2) takes no bit of another mask")
			require.Contains(t, []uint64{0, unix.MOUNT_ATTR__ATIME}, a.clear&unix.MOUNT_ATTR__ATIME, "else EINVAL")
		}
		for _, data := range o.data {
			require.NotEmpty(t, data)
			require.Contains(t, strings.ReplaceAll(options, `"`, ""), data)
		}
		again, err := parseMountOptions(append(slices.Clone(list), list...)) // of two the last one holds
		require.NoError(t, err)
		require.Equal(t, o.own, again.own)
		require.Equal(t, o.all, again.all)
	})
}

func TestMountsThatCannotBeRight(t *testing.T) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1, Size: 1}}
	for want, m := range map[string]specs.Mount{
		"on \"\": the root":                        {Type: "tmpfs"},
		"root.path":                                {Destination: "/a/..", Type: "tmpfs"},
		"needs a source":                           {Destination: "/a", Options: []string{"bind"}},
		"tmpcopyup is for tmpfs":                   {Destination: "/a", Type: "proc", Options: []string{"tmpcopyup"}},
		"option idmap is not supported":            {Destination: "/a", Source: "/b", Options: []string{"bind", "idmap"}},
		"option ridmap is not supported":           {Destination: "/a", Source: "/b", Options: []string{"bind", "ridmap"}},
		"gidMappings of a mount are not supported": {Destination: "/a", Source: "/b", Options: []string{"bind"}, UIDMappings: ids},
		"size=8m is not supported by remount":      {Destination: "/a", Type: "tmpfs", Options: []string{"remount", "size=8m"}},
		"mount /b on \"a/../..\": the":             {Destination: "a/../..", Source: "/b", Options: []string{"bind"}},
	} {
		require.ErrorContains(t, validateMounts(&specs.Spec{Mounts: []specs.Mount{m}, Linux: &specs.Linux{}}), want)
	}
	require.NoError(t, validateMounts(&specs.Spec{Mounts: defaultSpec(nil).Mounts, Linux: &specs.Linux{}}))
	require.ErrorContains(t, validateMounts(&specs.Spec{Linux: &specs.Linux{RootfsPropagation: "x"}}), "unknown rootfsPropagation \"x\"")
}

func TestSysctlsAreTheContainersAlone(t *testing.T) {
	all := []specs.LinuxNamespace{{Type: "network"}, {Type: "ipc"}, {Type: "uts"}}
	for _, test := range []struct {
		name, file string
		needs      specs.LinuxNamespaceType
	}{
		{"net.ipv4.ip_forward", "net/ipv4/ip_forward", "network"},
		{"net/ipv4/ip_forward", "net/ipv4/ip_forward", "network"},
		{"kernel.shmmax", "kernel/shmmax", "ipc"},
		{"kernel.msgmni", "kernel/msgmni", "ipc"},
		{"kernel/sem", "kernel/sem", "ipc"},
		{"fs.mqueue.msg_max", "fs/mqueue/msg_max", "ipc"},
		{"kernel.domainname", "kernel/domainname", "uts"},
		{"net/ipv4/conf/lo.1/forwarding", "net/ipv4/conf/lo.1/forwarding", "network"},
		{"net.ipv4.conf.lo/1.forwarding", "net/ipv4/conf/lo.1/forwarding", "network"},
		{"kernel.core_pattern", "", ""},
		{"kernel.semantics", "", ""},
		{"vm.swappiness", "", ""},
		{"net/../kernel/core_pattern", "", ""},
		{"net....kernel.core_pattern", "", ""},
		{"net//ipv4", "", ""},
		{"/net/ipv4/ip_forward", "", ""},
		{"", "", ""},
	} {
		s := &specs.Spec{Linux: &specs.Linux{Sysctl: map[string]string{test.name: "1"}, Namespaces: all}}
		if test.needs == "" {
			require.ErrorContains(t, validateSysctls(s), "sysctl", test.name)
			continue
		}
		require.Equal(t, test.file, sysctlPath(test.name))
		require.NoError(t, validateSysctls(s), test.name)
		s.Linux.Namespaces = slices.DeleteFunc(slices.Clone(all), func(n specs.LinuxNamespace) bool { return n.Type == test.needs })
		require.ErrorContains(t, validateSysctls(s), "no "+string(test.needs)+" namespace", test.name)
	}
}
