import { buildApp } from '../../src/server/app.js'
import { optionsFromEnvironment, resolveConfig } from '../../src/config.js'
import { serve } from './child.js'

// The server as `holdfast start` builds it, which also answers the bench's questions about its
// usage.
const app = await buildApp(resolveConfig(optionsFromEnvironment(process.env)))
await serve((at) => app.listen(at))
