package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"containers-from-scratch/harness/kit"
	"containers-from-scratch/harness/sandbox"
)

// makeKit writes the archive for machines without internet, and says how it is
// used.
func makeKit([]string) error {
	s := spec()
	if err := known(s); err != nil {
		return err
	}
	if s.Arch == "" {
		s.Arch = runtime.GOARCH
	}
	vm, err := sandbox.KitFiles(s, os.Stderr)
	if err != nil {
		return cannot(err)
	}
	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		return broke(err)
	}
	defer os.RemoveAll(dir)
	modules, err := kit.Modules(dir)
	if err != nil {
		return cannot(err)
	}
	files := map[string]string{}
	for name, file := range vm {
		files[kit.Dir+"/cache/"+name] = file
	}
	for name, file := range modules {
		files[kit.Dir+"/mod/"+name] = file
	}
	name := ".build/kit-" + s.Arch + ".tar.gz"
	f, err := os.Create(name)
	if err != nil {
		return broke(err)
	}
	err = errors.Join(kit.Write(f, files), f.Close())
	if err != nil {
		return broke(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		return broke(err)
	}
	fmt.Printf("%s: %.1f MB, %d files for a virtual machine (%s), %d of Go modules\n"+
		"in a clone of this repository: tar -xzf kit-%s.tar.gz\nthen make finds it in %s, and needs no network\n",
		name, float64(info.Size())/1e6, len(vm), s.Arch, len(modules), s.Arch, kit.Dir)
	return nil
}
