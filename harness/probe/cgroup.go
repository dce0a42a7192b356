package probe

import (
	"os"
	"slices"
	"strings"
)

// A Hierarchy is one tree of cgroups, see cgroups(7).
type Hierarchy struct {
	Root        string // where it is mounted
	Top         string // which cgroup is there: "/", or of a bind mount one below
	V2          bool
	ReadOnly    bool
	Controllers []string // on v1 also other options of the mount
}

// Hierarchies finds the trees of cgroups among mounts. One may be mounted more
// than once: as in the steps, the first mount counts.
func Hierarchies(mounts []Mount) (list []Hierarchy) {
	seen := map[string]bool{}
	for _, m := range mounts {
		key := m.Type + " " + strings.Join(m.Super, ",")
		if m.Type != "cgroup" && m.Type != "cgroup2" || seen[key] {
			continue
		}
		seen[key] = true
		h := Hierarchy{Root: m.Target, Top: m.Root, V2: m.Type == "cgroup2", Controllers: m.Super}
		if h.V2 {
			controllers, _ := os.ReadFile(m.Target + "/cgroup.controllers")
			h.Controllers = strings.Fields(string(controllers))
		}
		byMount, byFilesystem := m.ReadOnly()
		h.ReadOnly = byMount || byFilesystem
		list = append(list, h)
	}
	return list
}

// With finds the tree that has a controller, nil when none does.
func With(controller string, list []Hierarchy) *Hierarchy {
	i := slices.IndexFunc(list, func(h Hierarchy) bool { return slices.Contains(h.Controllers, controller) })
	if i < 0 {
		return nil
	}
	return &list[i]
}
