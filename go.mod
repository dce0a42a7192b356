module containers-from-scratch

go 1.26.0

require (
	// encoding/json/v2, in the standard library from Go 1.27 on. The old package
	// prepares for every type that a value may hold: for config.json, which may
	// hold Windows, 0.6 ms, and it reads what engines write twice as slowly. It
	// brings no module.
	github.com/go-json-experiment/json v1.27.2
	github.com/google/go-cmp v0.7.0
	// The types of config.json, of the state and of features, as the OCI publishes
	// them: what 07-final would else copy, 1,300 lines. It brings no module.
	github.com/opencontainers/runtime-spec v1.3.0
	github.com/stretchr/testify v1.12.1
	github.com/vishvananda/netlink v1.3.1
	// In one test alone, of the Lima template and the cloud-init file. It is in the
	// graph by testify anyway.
	go.yaml.in/yaml/v3 v3.0.5
	golang.org/x/sys v0.49.0
)

require github.com/vishvananda/netns v0.0.5 // indirect
