package admin

import _ "embed"

// openAPI is the description of the API, in OpenAPI 3.1.
//
//go:embed openapi.json
var openAPI []byte
