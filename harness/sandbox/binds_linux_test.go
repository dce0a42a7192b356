package sandbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBindsAreRefusedWhereTheyCannotBe(t *testing.T) {
	job := Job{Args: []string{"/bin/true"}, Binds: []string{"/usr"}}
	for name, machine := range map[string]Machine{"vm": &vmMachine{}, "container": &containerMachine{}} {
		_, err := machine.Run(job)
		require.EqualError(t, err, "sandbox "+name+" cannot show /usr of this machine: SANDBOX=host can")
	}
}
