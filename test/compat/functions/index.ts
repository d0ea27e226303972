import './compat/actions/echo.js';
import './compat/actions/fail.js';
import './compat/actions/strict.js';
import './compat/actions/reveal.js';
import './compat/syncs/things.js';
import './compat/syncs/broken.js';
