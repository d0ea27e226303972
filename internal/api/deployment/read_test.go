package deployment_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/patchbay-dev/patchbay/internal/api/deployment"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
)

// FuzzRead: a body is refused with findings, or gives functions that can be stored: named, of a type, each there once, with
// a frequency that can be scheduled and a schema that has its models.
func FuzzRead(f *testing.F) {
	const flow = `{"syncName":"s","providerConfigKey":"g","type":"sync","models":["M"],"input":"I","runs":"every hour","endpoints":[{"GET":"/"}],` +
		`"metadata":{"scopes":["a"]},"fileBody":{"js":"j","ts":"t"},"models_json_schema":{"definitions":{"M":{},"I":{}}}}`
	const scripts = `[{"providerConfigKey":"g","scripts":[{"name":"e","event":"validate-connection","fileBody":{"js":"","ts":""}}]}]`
	for _, seed := range []string{
		`{"flowConfigs":[` + flow + `],"reconcile":true,"debug":false,"nangoYamlBody":""}`,
		`{"flowConfigs":[` + flow + `,` + flow + `],"reconcile":true,"debug":false,"nangoYamlBody":""}`,
		`{"flowConfigs":[],"onEventScriptsByProvider":` + scripts + `,"reconcile":true,"debug":false,"nangoYamlBody":"","deployMode":"single"}`,
		`{"flowConfigs":[` + flow + `],"jsonSchema":{"$schema":"","definitions":{"M":{"$ref":"#/definitions/M"}}},"reconcile":true,"debug":false,"nangoYamlBody":""}`,
		`[]`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 0 && !json.Valid(body) {
			return // refused before
		}
		d, err := deployment.Read(body, true)
		if err != nil {
			known, ok := errors.AsType[*errs.Error](err)
			if !ok || known.Status != http.StatusBadRequest || len(known.Issues) == 0 && known.Code != "deploy_missing_json_schema_model" {
				t.Errorf("%s: %v", body, err)
			}
			return
		}
		seen := map[[3]string]bool{}
		for _, c := range d.Functions {
			key := [3]string{c.Integration, c.Name, string(c.Type)}
			if c.Name == "" || c.Integration == "" || c.Type == "" || seen[key] {
				t.Errorf("%s: %+v", body, c)
			}
			seen[key] = true
			if c.Frequency != "" {
				if _, err := function.ParseFrequency(c.Frequency); err != nil {
					t.Errorf("%s: %v", body, err)
				}
			}
			for _, model := range c.Models {
				if c.JSONSchema != nil && c.Schemas()[model] == nil {
					t.Errorf("%s: no schema of %q", body, model)
				}
			}
		}
	})
}
