//go:build linux || darwin

package sandbox

import (
	"io"
	"path/filepath"
	"strings"
)

// KitFiles are the files from which a virtual machine of an architecture is
// made, by their place below a cache directory: the default kernel with the
// modules that are loaded, busybox and bash, and under what terms they are
// given away. Debian packages that are missing are fetched.
func KitFiles(s Spec, log io.Writer) (map[string]string, error) {
	arch, _, err := s.arch()
	if err != nil {
		return nil, err
	}
	s.Kernel = "" // a kit has the default one
	if err := fetchPackages(arch, log, s.packages(arch)...); err != nil {
		return nil, err
	}
	k, err := findKernel(s.kernelDir(arch))
	if err != nil {
		return nil, err
	}
	modules, err := moduleFiles(k.modules)
	if err != nil {
		return nil, err
	}
	load, err := loadOrder(k.modules, vmModules)
	if err != nil {
		return nil, err
	}
	paths := []string{
		k.image, filepath.Join(filepath.Dir(k.image), "config-"+k.version),
		filepath.Join(packageDir(arch, "busybox-static"), "bin", "busybox"),
		filepath.Join(packageDir(arch, "bash-static"), "bin", "bash-static"),
	}
	for _, m := range load {
		paths = append(paths, modules[m.name])
	}
	for _, pkg := range s.packages(arch) {
		terms, _ := filepath.Glob(filepath.Join(packageDir(arch, pkg), "usr/share/doc/*/copyright"))
		paths = append(paths, terms...)
	}
	files := map[string]string{}
	for _, path := range paths {
		files[arch+strings.TrimPrefix(path, packageDir(arch, ""))] = path
	}
	return files, nil
}
