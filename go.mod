module containers-from-scratch

go 1.26.0

require (
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
