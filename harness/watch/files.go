package watch

import (
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"time"
)

// A Snapshot tells files apart by the time of their last change and their size.
// It is empty where there is no directory.
type Snapshot map[string]stamp

type stamp struct {
	changed time.Time
	size    int64
}

// Snap looks at all files in dir, but for hidden ones: editors write some there,
// and so do we.
func Snap(dir string) Snapshot {
	s := Snapshot{}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it has just gone
		}
		if path != dir && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			s[path] = stamp{info.ModTime(), info.Size()}
		}
		return nil
	})
	return s
}

// Equal tells whether nothing has changed. A clock that goes back, as on a
// shared folder, is a change as well.
func (s Snapshot) Equal(other Snapshot) bool {
	return maps.EqualFunc(s, other, func(a, b stamp) bool { return a.size == b.size && a.changed.Equal(b.changed) })
}
