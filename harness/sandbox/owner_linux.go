package sandbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// giveTo gives what root made in dir to the owner of like. A launcher run by
// sudo works in an ordinary user's directories, and that user could otherwise
// neither change nor remove what it leaves there.
func giveTo(like, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(like)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if owner.Uid == 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, int(owner.Uid), int(owner.Gid))
	})
}
