package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// backups is the directory in the learner's that keeps what was there before.
// The go command looks into no directory that begins with a dot.
const backups = ".backup"

// Put puts files, by their name, into dir, and nothing else: what is there
// already is moved to a backup, whose path it returns. With the same files there
// already it does nothing.
func Put(dir string, files map[string]string, now time.Time) (backup string, err error) {
	there, err := visible(dir)
	if err != nil {
		return "", err
	}
	if same(dir, there, files) {
		return "", nil
	}
	if len(there) > 0 {
		if backup, err = moveAway(dir, there, now); err != nil {
			return "", fmt.Errorf("keep a copy of %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return backup, err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return backup, err
		}
	}
	return backup, nil
}

// visible are the names in dir that do not begin with a dot; none where there is
// no directory.
func visible(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// same tells whether dir holds these files and no others.
func same(dir string, there []string, files map[string]string) bool {
	if len(there) != len(files) {
		return false
	}
	for name, content := range files {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != content {
			return false
		}
	}
	return true
}

// moveAway moves names into a new directory below the backups.
func moveAway(dir string, names []string, now time.Time) (backup string, err error) {
	if err := os.MkdirAll(filepath.Join(dir, backups), 0o755); err != nil {
		return "", err
	}
	backup = filepath.Join(dir, backups, now.Format("2006-01-02_150405"))
	for n := 2; ; n++ { // two in one second
		err := os.Mkdir(backup, 0o755)
		if err == nil {
			break
		}
		if !os.IsExist(err) {
			return "", err
		}
		backup = filepath.Join(dir, backups, fmt.Sprintf("%s_%d", now.Format("2006-01-02_150405"), n))
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(backup, name)); err != nil {
			return "", err
		}
	}
	return backup, nil
}
